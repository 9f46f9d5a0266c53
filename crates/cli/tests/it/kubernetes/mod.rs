//! `kubectl nival` against a real hub and a real API server with its controllers. There are no nodes: what they and the
//! operator would write, the tests write.

mod administrator;
mod changing;
mod inspecting;
mod looking;
mod pinning;
mod troubles;
mod typing;
