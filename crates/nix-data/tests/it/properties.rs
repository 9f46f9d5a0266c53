//! What holds for all input: what is written is read again, what is read has one spelling, and
//! nothing makes a parser panic.

use std::collections::BTreeSet;
use std::io::Read;

use nix_data::nar::{Event, Listing, ListingNode, Node, Reader, Writer};
use nix_data::references::ReferenceScanner;
use nix_data::{
    CacheInfo, Compression, ContentAddress, Hash, HashAlgorithm, NarInfo, PublicKey, SecretKey,
    Signature, StorePath, base32,
};
use proptest::prelude::*;

use crate::trees::{any_node, files, nar};

fn any_hash() -> impl Strategy<Value = Hash> {
    let algorithms = [
        HashAlgorithm::Md5,
        HashAlgorithm::Sha1,
        HashAlgorithm::Sha256,
        HashAlgorithm::Sha512,
    ];
    (
        prop::sample::select(algorithms.to_vec()),
        prop::collection::vec(any::<u8>(), 64),
    )
        .prop_map(|(algorithm, bytes)| {
            Hash::from_digest(algorithm, &bytes[..algorithm.length()]).unwrap()
        })
}

fn any_sha256() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash::from_sha256)
}

fn any_store_path() -> impl Strategy<Value = StorePath> {
    (
        "[0-9a-df-np-sv-z]{32}",
        "[a-zA-Z0-9+_?=-][a-zA-Z0-9+._?=-]{0,30}",
    )
        .prop_map(|(hash, name)| StorePath::from_base_name(&format!("{hash}-{name}")).unwrap())
}

fn any_narinfo() -> impl Strategy<Value = NarInfo> {
    let compressions = [
        Compression::None,
        Compression::Xz,
        Compression::Zstd,
        Compression::Bzip2,
    ];
    let file = (
        "nar/[0-9a-z]{1,52}\\.nar(\\.[a-z]{2,4})?",
        prop::sample::select(compressions.to_vec()),
        prop::option::of(any_sha256()),
        prop::option::of(any::<u64>()),
    );
    let content = (
        any_sha256(),
        1..u64::MAX,
        prop::collection::btree_set(any_store_path(), 0..5),
    );
    let extra = (
        prop::option::of(any_store_path()),
        prop::option::of(any_sha256()),
        prop::collection::vec(("[a-z.]{1,9}-[0-9]", any::<[u8; 32]>()), 0..4),
    );
    (any_store_path(), file, content, extra).prop_map(
        |(store_path, (url, compression, file_hash, file_size), content, extra)| {
            let (nar_hash, nar_size, references) = content;
            let (deriver, ca, keys) = extra;
            let mut info = NarInfo {
                store_path,
                url,
                compression,
                file_hash,
                file_size,
                nar_hash,
                nar_size,
                references: references.into_iter().collect(),
                deriver,
                system: None,
                signatures: Vec::new(),
                ca: ca.map(|hash| format!("fixed:r:{}", hash.to_nix32()).parse().unwrap()),
            };
            for (name, seed) in keys {
                info.sign(&SecretKey::generate_from_seed(&name, seed).unwrap());
            }
            info
        },
    )
}

/// A source that gives one byte at a time.
struct Drip<'bytes>(&'bytes [u8]);

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = buffer.len().min(1);
        self.0.read(&mut buffer[..length])
    }
}

/// Writes again what a reader reads.
fn copy(source: impl Read) -> Result<Vec<u8>, nix_data::nar::NarError> {
    let mut reader = Reader::new(source);
    let mut writer = Writer::new(Vec::new());
    while let Some(event) = reader.next_event()? {
        match event {
            Event::Directory => writer.directory()?,
            Event::Entry { name } => writer.entry(&name)?,
            Event::LeaveDirectory => writer.leave_directory()?,
            Event::Symlink { target } => writer.symlink(&target)?,
            Event::File { executable, size } => {
                // Not `Writer::file`: it would read one byte too many of a file that is cut off.
                writer.begin_file(executable, size)?;
                let mut contents = Vec::new();
                reader.copy_contents(&mut contents)?;
                writer.write_contents(&contents)?;
                writer.end_file()?;
            }
        }
    }
    reader.finish()?;
    writer.finish()
}

fn check_offsets(nar: &[u8], node: &ListingNode, path: &[u8], tree: &Node) {
    match node {
        ListingNode::Directory { entries } => {
            for (name, node) in entries {
                check_offsets(nar, node, &[path, b"/", name].concat(), tree);
            }
        }
        ListingNode::File {
            size, nar_offset, ..
        } => {
            let start = usize::try_from(nar_offset.unwrap()).unwrap();
            let contents = &nar[start..start + usize::try_from(*size).unwrap()];
            assert_eq!(contents, files(tree)[path]);
        }
        ListingNode::Symlink { .. } => {}
    }
}

proptest! {
    #[test]
    fn base32_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        prop_assert_eq!(base32::decode(&base32::encode(&bytes)), Ok(bytes));
    }

    #[test]
    fn base32_has_one_spelling(text in prop_oneof!["[0-9a-z]{0,60}", ".*"]) {
        if let Ok(bytes) = base32::decode(&text) {
            prop_assert_eq!(base32::encode(&bytes), text);
        }
    }

    #[test]
    fn hashes_come_back_in_every_form(hash in any_hash()) {
        let hex = format!("{}:{}", hash.algorithm(), hash.to_hex());
        for text in [hash.to_sri(), hash.to_nix32(), hex] {
            prop_assert_eq!(text.parse(), Ok(hash.clone()));
        }
        let json = serde_json::to_string(&hash).unwrap();
        prop_assert_eq!(serde_json::from_str::<Hash>(&json).unwrap(), hash);
    }

    #[test]
    fn store_paths_come_back(path in any_store_path(), below in "(/[a-z]{0,5}){0,3}") {
        let text = path.to_string();
        prop_assert_eq!(text.parse(), Ok(path.clone()));
        let inside = format!("{text}{below}");
        prop_assert_eq!(StorePath::split(&inside), Ok((path.clone(), below.as_str())));
        let json = serde_json::to_string(&path).unwrap();
        prop_assert_eq!(serde_json::from_str::<StorePath>(&json).unwrap(), path);
    }

    #[test]
    fn texts_never_panic_and_have_one_spelling(text in prop_oneof![
        ".*",
        "/nix/store/[0-9a-z]{30,33}-[ -~]{0,20}",
        "(md5|sha1|sha256|sha512|blake3)[:-][0-9a-zA-Z+/=]{0,130}",
        "(text|fixed|fixed:r):(sha1|sha256):[0-9a-z]{30,64}",
        "[ -~]{0,10}:[A-Za-z0-9+/]{43,86}={0,2}",
    ]) {
        drop(text.parse::<Hash>());
        drop(text.parse::<SecretKey>());
        if let Ok(path) = text.parse::<StorePath>() {
            prop_assert_eq!(path.to_string(), text.as_str());
        }
        if let Ok(path) = StorePath::from_base_name(&text) {
            prop_assert_eq!(path.base_name(), text.as_str());
        }
        if let Ok(address) = text.parse::<ContentAddress>() {
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }
        if let Ok(key) = text.parse::<PublicKey>() {
            prop_assert_eq!(key.to_string(), text.as_str());
        }
        if let Ok(signature) = text.parse::<Signature>() {
            prop_assert_eq!(signature.to_string(), text.as_str());
        }
    }

    #[test]
    fn signatures_hold_for_their_message_only(
        seed in any::<[u8; 32]>(),
        message in prop::collection::vec(any::<u8>(), 1..100),
        position in any::<prop::sample::Index>(),
    ) {
        let secret = SecretKey::generate_from_seed("key-1", seed).unwrap();
        let public: PublicKey = secret.public_key().to_string().parse().unwrap();
        let signature: Signature = secret.sign(&message).to_string().parse().unwrap();
        prop_assert!(public.verify(&message, &signature));
        let mut other = message.clone();
        other[position.index(message.len())] ^= 1;
        prop_assert!(!public.verify(&other, &signature));
    }

    #[test]
    fn narinfos_come_back(info in any_narinfo()) {
        let text = info.to_string();
        let again = NarInfo::parse(&text).unwrap();
        prop_assert_eq!(again.to_string(), text);
        prop_assert_eq!(again.fingerprint(), info.fingerprint());
        prop_assert_eq!(again, info);
    }

    #[test]
    fn changed_narinfos_never_panic(
        info in any_narinfo(),
        position in any::<prop::sample::Index>(),
        insert in ".{0,3}",
    ) {
        let text = info.to_string();
        let position = position.index(text.len());
        let changed = format!("{}{insert}{}", &text[..position], &text[position + 1..]);
        if let Ok(info) = NarInfo::parse(&changed) {
            prop_assert_eq!(NarInfo::parse(&info.to_string()).unwrap(), info);
        }
    }

    #[test]
    fn any_text_is_a_narinfo_or_an_error(
        text in "((StorePath|URL|NarHash|NarSize|References|Sig|CA|[a-z]*): ?[ -~]{0,40}\n?){0,12}",
    ) {
        if let Ok(info) = NarInfo::parse(&text) {
            prop_assert_eq!(NarInfo::parse(&info.to_string()).unwrap(), info);
        }
    }

    #[test]
    fn any_text_is_a_cache_info_or_an_error(
        text in prop_oneof![".*", "((StoreDir|WantMassQuery|Priority|[a-z]*):? ?[/0-9a-z]{0,9}\n?){0,5}"],
    ) {
        if let Ok(info) = text.parse::<CacheInfo>() {
            prop_assert_eq!(info.to_string().parse(), Ok(info));
        }
    }

    #[test]
    fn trees_come_back_whatever_the_source_gives(tree in any_node()) {
        let bytes = nar(&tree);
        prop_assert_eq!(bytes.len() % 8, 0);
        prop_assert_eq!(&Node::read_from(&bytes[..], 1 << 20).unwrap(), &tree);
        prop_assert_eq!(Node::read_from(Drip(&bytes), 1 << 20).unwrap(), tree);
        prop_assert!(copy(Drip(&bytes)).unwrap() == bytes);
    }

    #[test]
    fn nars_have_one_spelling(
        tree in any_node(),
        position in any::<prop::sample::Index>(),
        value in any::<u8>(),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = nar(&tree);
        let position = position.index(bytes.len());
        bytes[position] = value;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(again) = copy(&bytes[..]) {
            prop_assert!(again == bytes);
            prop_assert!(Node::read_from(&bytes[..], 1 << 20).is_ok());
        }
    }

    #[test]
    fn a_nar_that_is_cut_off_is_an_error(tree in any_node(), cut in any::<prop::sample::Index>()) {
        let bytes = nar(&tree);
        let cut = &bytes[..cut.index(bytes.len())];
        prop_assert!(Reader::new(cut).finish().is_err());
        prop_assert!(copy(Drip(cut)).is_err());
    }

    #[test]
    fn any_bytes_are_a_nar_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut with_magic = nar(&Node::Symlink(b"x".to_vec()))[..24].to_vec();
        with_magic.extend_from_slice(&bytes);
        for bytes in [bytes, with_magic] {
            if let Ok(again) = copy(&bytes[..]) {
                prop_assert!(again == bytes);
            }
        }
    }

    #[test]
    fn contents_may_be_read_in_part(tree in any_node(), size in 0..60_usize) {
        let bytes = nar(&tree);
        let mut reader = Reader::new(&bytes[..]);
        while let Some(event) = reader.next_event().unwrap() {
            if let Event::File { size: whole, .. } = event {
                let mut buffer = vec![0; size];
                let read = reader.contents().read(&mut buffer).unwrap();
                prop_assert!(read as u64 <= whole);
            }
        }
        prop_assert_eq!(reader.offset(), bytes.len() as u64);
        prop_assert!(reader.finish().is_ok());
    }

    #[test]
    fn listings_come_back_and_point_at_contents(tree in any_node()) {
        let bytes = nar(&tree);
        let listing = Listing::from_reader(&bytes[..]).unwrap();
        check_offsets(&bytes, &listing.root, b"", &tree);
        if let Ok(json) = listing.to_json() {
            prop_assert_eq!(Listing::from_json(json.as_bytes()).unwrap(), listing);
        }
    }

    #[test]
    fn any_bytes_are_a_listing_or_an_error(text in prop_oneof![
        ".*",
        "(\\{|\\}|\"(root|version|type|entries|size|target|a|directory|regular)\"|:|,|1|\\[|\\]){0,40}",
    ]) {
        if let Ok(listing) = Listing::from_json(text.as_bytes()) {
            let json = listing.to_json().unwrap();
            prop_assert_eq!(Listing::from_json(json.as_bytes()).unwrap(), listing);
        }
    }

    #[test]
    fn references_are_those_that_a_plain_search_finds(
        candidates in prop::collection::vec(any_store_path(), 1..6),
        pieces in prop::collection::vec(prop_oneof![
            any::<prop::sample::Index>().prop_map(Ok),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(Err),
            "[0-9a-z]{0,40}".prop_map(|text| Err(text.into_bytes())),
        ], 0..8),
        chunk in 1..100_usize,
    ) {
        let mut bytes = Vec::new();
        for piece in pieces {
            match piece {
                Ok(index) => {
                    let path = &candidates[index.index(candidates.len())];
                    bytes.extend_from_slice(path.hash_part().as_bytes());
                }
                Err(other) => bytes.extend(other),
            }
        }
        let found_plainly: BTreeSet<StorePath> = candidates
            .iter()
            .filter(|path| bytes.windows(32).any(|window| window == path.hash_part().as_bytes()))
            .cloned()
            .collect();
        let mut scanner = ReferenceScanner::new(candidates);
        bytes.chunks(chunk).for_each(|chunk| scanner.feed(chunk));
        prop_assert_eq!(scanner.finish(), found_plainly);
    }
}
