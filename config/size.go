package config

// Size is a number of bytes, written in YAML as a number or with a unit:
// "512KiB", "8MiB", "2GiB".
type Size int64
