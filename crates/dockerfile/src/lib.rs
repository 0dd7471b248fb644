//! Dockerfiles: text to syntax tree to operation graph, and the checks.
//!
//! Pure: nothing here opens a file, asks the clock or reads the environment. Who calls hands in bytes and gets
//! values back; the words of errors follow BuildKit's, so that what matches on them goes on matching.
//!
//! ```text
//! source   bytes ─► text with places, and messages that show them
//! syntax   what a file says, as types
//! parse    text ─► syntax
//! expand   variables, quotes and escapes of a word, as BuildKit's shell lexer has them
//! ignore   .dockerignore and the patterns of COPY, as Go matches them
//! stage    bases, dependencies, targets, predefined arguments
//! lint     the checks of BuildKit and hadolint, their reports
//! lower    stages ─► graph of operations, image config
//! ```

#[cfg(test)]
mod arbitrary;
pub mod expand;
pub mod ignore;
pub mod lint;
pub mod lower;
pub mod parse;
pub mod source;
pub mod stage;
pub mod syntax;
