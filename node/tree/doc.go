// Package tree holds a JSON document as an ordered tree that is read and edited
// by dotted paths, the way gjson and sjson read them. It is what pipeline steps
// work on and what expressions are evaluated over: the JSON text itself exists
// only at a plugin's door.
//
// Every tree is bounded (Limits), so that a document from outside costs bounded
// time and memory, and holds valid UTF-8 only.
package tree
