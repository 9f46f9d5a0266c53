//! Reads bytes as a NAR: it must not panic, and what is accepted is written again as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nix_data::nar::{Event, Listing, NarError, Node, Reader, Writer};

fuzz_target!(|bytes: &[u8]| {
    let copied = copy(bytes);
    let tree = Node::read_from(bytes, 1 << 20);
    let listing = Listing::from_reader(bytes);
    assert_eq!(copied.is_ok(), tree.is_ok());
    assert_eq!(copied.is_ok(), listing.is_ok());
    let (Ok(copied), Ok(tree), Ok(listing)) = (copied, tree, listing) else {
        return;
    };
    assert!(copied == bytes, "a NAR has one spelling");
    assert!(
        tree.write_to(Vec::new())
            .expect("a tree that was read can be written")
            == bytes
    );
    if let Ok(json) = listing.to_json() {
        let again = Listing::from_json(json.as_bytes()).expect("a listing is read again");
        assert_eq!(again, listing);
    }
});

fn copy(bytes: &[u8]) -> Result<Vec<u8>, NarError> {
    let mut reader = Reader::new(bytes);
    let mut writer = Writer::new(Vec::new());
    while let Some(event) = reader.next_event()? {
        match event {
            Event::Directory => writer.directory()?,
            Event::Entry { name } => writer.entry(&name)?,
            Event::LeaveDirectory => writer.leave_directory()?,
            Event::Symlink { target } => writer.symlink(&target)?,
            Event::File { executable, size } => {
                let mut contents = Vec::new();
                reader.copy_contents(&mut contents)?;
                assert_eq!(contents.len() as u64, size);
                writer.file_bytes(executable, &contents)?;
            }
        }
    }
    reader.finish()?;
    writer.finish()
}
