//! Writes an EROFS index of a file tree whose data lies in other files; pure over a writer.
