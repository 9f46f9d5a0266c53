//! Generates the agent's ttrpc messages from their protocol file, with no protoc.

fn main() {
    println!("cargo::rerun-if-changed=proto/agent.proto");
    #[cfg(feature = "agent")]
    generate();
}

#[cfg(feature = "agent")]
#[expect(
    clippy::disallowed_methods,
    reason = "what a build script writes is read by cargo alone"
)]
fn generate() {
    use ttrpc_codegen::{Codegen, Customize, ProtobufCustomize};

    let folder = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    Codegen::new()
        .inputs(["proto/agent.proto"])
        .include("proto")
        .rust_protobuf()
        .customize(Customize {
            async_all: true,
            ..Default::default()
        })
        .rust_protobuf_customize(ProtobufCustomize::default().generate_accessors(false))
        .out_dir(&folder)
        .run()
        .expect("the protocol file is valid");
    for name in ["agent.rs", "agent_ttrpc.rs"] {
        // `include!` refuses inner attributes and inner docs, so those lines go.
        let path = std::path::Path::new(&folder).join(name);
        let text = std::fs::read_to_string(&path).expect("the generator wrote the file");
        let kept: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with("#!") && !line.starts_with("//!"))
            .collect();
        std::fs::write(&path, kept.join("\n")).expect("the generated file can be rewritten");
    }
}
