package lint

import "strings"

// pathSet holds something for each of many paths, and finds what lies above and
// below one without going through all.
type pathSet[T any] struct {
	at    map[string]T
	below map[string]map[string]bool // of each path the paths one part longer that hold something, or lead there
}

func newPathSet[T any]() pathSet[T] {
	return pathSet[T]{map[string]T{}, map[string]map[string]bool{}}
}

// above yields a path and all that lie above it.
func above(path string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for yield(path) {
			i := strings.LastIndexByte(path, '.')
			if i < 0 {
				return
			}
			path = path[:i]
		}
	}
}

func within(path, outer string) bool {
	return path == outer || strings.HasPrefix(path, outer) && path[len(outer)] == '.'
}

func (s pathSet[T]) put(path string, v T) {
	if _, ok := s.at[path]; !ok {
		last := ""
		for p := range above(path) {
			if last != "" {
				if s.below[p] == nil {
					s.below[p] = map[string]bool{}
				}
				if s.below[p][last] {
					break
				}
				s.below[p][last] = true
			}
			last = p
		}
	}
	s.at[path] = v
}

// over is what holds for the path: what is held at it or above it.
func (s pathSet[T]) over(path string) (v T, ok bool) {
	for p := range above(path) {
		if v, ok = s.at[p]; ok {
			return v, true
		}
	}
	return v, false
}

// touches reports whether something is held at the path, above it or below it.
func (s pathSet[T]) touches(path string) bool {
	if _, ok := s.over(path); ok {
		return true
	}
	return len(s.below[path]) > 0
}

// drop lets go of what is held at the path and below it.
func (s pathSet[T]) drop(path string) {
	if _, ok := s.at[path]; !ok && len(s.below[path]) == 0 {
		return
	}
	for stack := []string{path}; len(stack) > 0; {
		p := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for child := range s.below[p] {
			stack = append(stack, child)
		}
		delete(s.below, p)
		delete(s.at, p)
	}
	s.unlink(path)
}

// unlink takes away the way to a path that holds nothing any more.
func (s pathSet[T]) unlink(path string) {
	for p := path; ; {
		i := strings.LastIndexByte(p, '.')
		if i < 0 {
			return
		}
		parent := p[:i]
		delete(s.below[parent], p)
		if _, holds := s.at[parent]; holds || len(s.below[parent]) > 0 {
			return
		}
		delete(s.below, parent)
		p = parent
	}
}

// dropOver lets go of what is held at the path and above it.
func (s pathSet[T]) dropOver(path string) {
	if len(s.at) == 0 {
		return
	}
	for p := range above(path) {
		if _, ok := s.at[p]; ok {
			// What is below stays.
			delete(s.at, p)
			if len(s.below[p]) == 0 {
				delete(s.below, p)
				s.unlink(p)
			}
		}
	}
}

func (s pathSet[T]) clear() {
	clear(s.at)
	clear(s.below)
}
