//! Flags to engine requests; tables, templates, exit codes.
