"""The files of knowledge bases, in every form that is read. May import: no other room."""
