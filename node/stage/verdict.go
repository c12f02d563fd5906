package stage

import (
	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/node/plugin"
)

// deadlyAttempts is how often a plugin may die over an item. All but the first
// time nothing else was with the plugin.
const deadlyAttempts = 4

// verdict turns the error of a plugin call with an item into what the bridge
// acts on: wait until the plugin is there, give the item up, or try it again.
func verdict(item bridge.Item, err error) error {
	switch plugin.Class(err) {
	case plugin.Lost:
		if item.Attempt >= deadlyAttempts && plugin.Class(item.LastErr) == plugin.Lost {
			return bridge.Permanent(err)
		}
	case plugin.OK:
		return nil
	case plugin.Absent, plugin.Ended:
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
