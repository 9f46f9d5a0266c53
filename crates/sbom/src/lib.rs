//! From a closure and its metadata to CycloneDX and SPDX documents: pure.
