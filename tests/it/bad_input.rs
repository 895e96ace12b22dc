//! Bad input: a clear answer, and nothing lost or half-written.
