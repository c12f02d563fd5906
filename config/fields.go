package config

import (
	"fmt"
	"iter"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// field is one setting within a Settings value.
type field struct {
	path  string // nats.max_payload
	value reflect.Value
}

// env names the environment variables of a setting. The first that is set
// counts: ours, then the ecosystem's.
func (f field) env() []string {
	own := "EPMESH_" + strings.ToUpper(strings.ReplaceAll(f.path, ".", "_"))
	if shared, ok := sharedEnv[f.path]; ok {
		return []string{own, shared}
	}
	return []string{own}
}

// sharedEnv are the variables that the whole ecosystem reads.
var sharedEnv = map[string]string{
	"work_dir":  "WORK_DIR",
	"node":      "NODE_NAME",
	"groups":    "NODE_GROUPS",
	"log.level": "LOG_LEVEL",
	"mode":      "MODE",
	"nats.url":  "NATS_URL",
}

// mayBeEmpty are the settings for which empty is a value; elsewhere an empty
// text is the same as none, as container tools set variables to "" freely.
var mayBeEmpty = map[string]bool{
	"http.listen": true,
	"nats.listen": true,
}

// fields lists all settings of s, in the order of its type.
func fields(s *Settings) iter.Seq[field] {
	return func(yield func(field) bool) {
		walk(reflect.ValueOf(s).Elem(), "", yield)
	}
}

func walk(v reflect.Value, prefix string, yield func(field) bool) bool {
	for i := range v.NumField() {
		path := prefix + v.Type().Field(i).Tag.Get("yaml")
		if v.Field(i).Kind() == reflect.Struct {
			if !walk(v.Field(i), path+".", yield) {
				return false
			}
		} else if !yield(field{path: path, value: v.Field(i)}) {
			return false
		}
	}
	return true
}

// set reads a text into a setting. It returns what was expected if the text is
// not that.
func (f field) set(text string) (want string, ok bool) {
	switch p := f.value.Addr().Interface().(type) {
	case *string:
		*p = text
	case *bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return "true or false", false
		}
		*p = b
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return "a whole number", false
		}
		*p = n
	case *Size:
		n, err := ParseSize(text)
		if err != nil {
			return "a size such as 512KiB or 8MiB", false
		}
		*p = n
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return "a duration such as 500ms, 10s or 2m", false
		}
		*p = d
	case *[]string:
		var list []string
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				list = append(list, item)
			}
		}
		*p = list
	default:
		panic(fmt.Sprintf("config: setting %s is of type %T", f.path, p)) // a new type must be added here
	}
	return "", true
}

// text is the value as set reads it.
func (f field) text() string {
	switch v := f.value.Interface().(type) {
	case []string:
		return strings.Join(v, ",")
	default:
		return fmt.Sprint(v)
	}
}
