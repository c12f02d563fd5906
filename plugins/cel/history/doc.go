// Package history keeps the events that the rules of the cel plugin search for
// in the past.
//
// [Store] is the contract. [NewMemory] keeps it in memory and begins anew with
// the process; [Open] keeps it in files and survives a restart.
//
// On disk, events lie in segments of at most 65536, in order of arrival. The
// newest segment is a journal, to which events are appended, and an index in
// memory. Once it is full it becomes two files that never change: the events in
// compressed blocks, and for every value of every watched path the events that
// have it, as a sorted list or a bitmap of 8 KiB. A search goes through the
// segments from the newest, combines these sets, and reads blocks only for what
// it returns. So its time depends on the number of segments in its window and
// hardly on how frequent its values are. What is old goes a segment at a time.
package history
