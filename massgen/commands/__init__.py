"""The commands: each module holds one, as `command`. They parse, call and print."""
