//! Conformance suites, fakes and mutants.
