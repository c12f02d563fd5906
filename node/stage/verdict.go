package stage

import (
	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/node/plugin"
)

// verdict turns the error of a plugin call with an item into what the bridge
// acts on: wait until the plugin is there, give the item up, or try it again.
func verdict(item bridge.Item, err error) error {
	switch plugin.Class(err) {
	case plugin.Lost:
		if item.Attempt >= plugin.DeadlyAttempts && plugin.Class(item.LastErr) == plugin.Lost {
			return bridge.Permanent(err)
		}
	case plugin.OK:
		return nil
	case plugin.Absent, plugin.Ended, plugin.Later:
		return bridge.Wait(err)
	case plugin.Permanent:
		return bridge.Permanent(err)
	}
	return err
}

// options are how an item is to be called with: one that a plugin died over
// goes alone the next time, so that it can kill only for itself.
func options(item bridge.Item) plugin.CallOptions {
	return plugin.CallOptions{Exclusive: item.LastErr != nil && plugin.Class(item.LastErr) == plugin.Lost}
}
