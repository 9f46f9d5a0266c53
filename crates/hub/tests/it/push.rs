//! The thread of a push: bytes, then generation, then pointer; each only when what it names is there.

use api::hub::environment::Visibility;
use api::hub::error::ErrorCode;
use api::hub::missing::MissingRequest;
use env_spec::generation::{Generation, LivePointer};
use env_spec::{Digest, Reference, TrustedKeys};

use crate::fixtures::{Package, Release, key, name, pointer, refusal, sign};
use crate::harness::Hub;

#[tokio::test]
async fn what_is_pushed_is_what_is_read() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    let release = Release::new("1").await;
    let digest = release.push(&pusher, "demo/app", 1, None).await;

    let environment = pusher.environment(&name("demo/app")).await.unwrap();
    assert_eq!(environment.visibility, Visibility::Private);
    assert_eq!(environment.head, environment.live);
    assert_eq!(
        (environment.sequence, environment.head.unwrap().digest),
        (1, digest)
    );

    let mut trusted = TrustedKeys::default();
    trusted.add("demo", key().public_key());
    let live: LivePointer = pusher
        .live(&name("demo/app"))
        .await
        .unwrap()
        .verify("live", "demo", &trusted)
        .unwrap();
    for reference in [
        format!("demo/app@{}", live.digest),
        format!("demo/app:{}", live.number),
    ] {
        let reference: Reference = reference.parse().unwrap();
        let signed = pusher.generation(&reference).await.unwrap();
        let record: Generation = signed.verify("generation", "demo", &trusted).unwrap();
        assert_eq!(record, release.record("demo/app", 1, None));
        assert_eq!(signed.digest(), digest);
    }
    let sbom = pusher
        .document(&name("demo/app"), Digest::of(&release.sbom))
        .await
        .unwrap();
    assert_eq!(sbom, release.sbom);
    assert_eq!(
        pusher.environments().await.unwrap().environments,
        [environment]
    );
    assert_eq!(pusher.info().await.unwrap().owner.as_deref(), Some("demo"));
}

#[tokio::test]
async fn the_object_store_is_a_tree_for_static_servers() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    let release = Release::new("1").await;
    release.push(&pusher, "demo/app", 1, None).await;
    let mut wanted = vec![
        "cache/demo/nix-cache-info".to_owned(),
        "environments/demo/app/generations/1.json".to_owned(),
        "environments/demo/app/live.json".to_owned(),
        format!(
            "environments/demo/app/documents/{}",
            Digest::of(&release.sbom).hex()
        ),
    ];
    for package in [&release.library, &release.environment] {
        wanted.push(format!("cache/demo/{}", package.narinfo_file()));
        wanted.push(format!("cache/demo/{}.ls", package.path().hash_part()));
        wanted.push(format!("cache/demo/{}", package.narinfo.url));
    }
    wanted.sort();
    assert_eq!(hub.files(), wanted);
}

#[tokio::test]
async fn a_second_push_needs_only_what_is_new_and_history_shows_a_rollback() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    let (first, second) = (Release::new("1").await, Release::new("2").await);
    let one = first.push(&pusher, "demo/app", 1, None).await;
    let question = MissingRequest {
        paths: vec![second.library.wanted(), second.environment.wanted()],
    };
    let answer = pusher.missing("demo", &question).await.unwrap();
    assert_eq!(answer.missing, [second.environment.path().clone()]);
    assert_eq!(answer.different, []);

    let two = second.push(&pusher, "demo/app", 2, Some(one)).await;
    let back = sign(&pointer("demo/app", 1, one, 3));
    pusher.put_live(&name("demo/app"), &back).await.unwrap();
    let history = pusher.history(&name("demo/app")).await.unwrap();
    let generations: Vec<_> = history
        .generations
        .iter()
        .map(|one| (one.number, one.digest))
        .collect();
    assert_eq!(generations, [(2, two), (1, one)]);
    assert_eq!(history.generations[0].message, "generation 2");
    let pointers: Vec<_> = history
        .pointers
        .iter()
        .map(|one| (one.sequence, one.number))
        .collect();
    assert_eq!(pointers, [(3, 1), (2, 2), (1, 1)]);
    assert_eq!(
        pusher
            .environment(&name("demo/app"))
            .await
            .unwrap()
            .head
            .unwrap()
            .number,
        2
    );
}

#[tokio::test]
async fn a_push_on_an_old_head_is_told_the_new_one() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    let (first, second) = (Release::new("1").await, Release::new("2").await);
    let one = first.push(&pusher, "demo/app", 1, None).await;
    second.upload(&pusher, "demo/app").await;
    for (number, parent) in [
        (1, None),
        (2, None),
        (3, Some(one)),
        (2, Some(Digest::of(b"other"))),
    ] {
        let record = sign(&second.record("demo/app", number, parent));
        let outcome = pusher.post_generation(&name("demo/app"), &record).await;
        let text = refusal(outcome, ErrorCode::ParentIsNotHead);
        assert!(text.contains(&format!("is generation 1 ({one})")), "{text}");
        assert!(text.contains("push again"), "{text}");
    }
    assert_eq!(
        pusher
            .history(&name("demo/app"))
            .await
            .unwrap()
            .generations
            .len(),
        1
    );
}

#[tokio::test]
async fn of_many_pushes_at_once_one_wins_and_its_record_is_kept() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    let release = Release::new("1").await;
    release.upload(&pusher, "demo/app").await;
    let pushes = (0..8).map(|index| {
        let mut record = release.record("demo/app", 1, None);
        record.message = format!("attempt {index}");
        let (pusher, signed) = (pusher.clone(), sign(&record));
        async move {
            let outcome = pusher.post_generation(&name("demo/app"), &signed).await;
            outcome.is_ok().then(|| signed.digest())
        }
    });
    let outcomes = futures::future::join_all(pushes).await;
    let won: Vec<_> = outcomes.into_iter().flatten().collect();
    assert_eq!(won.len(), 1);
    let kept = pusher
        .generation(&"demo/app:1".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(kept.digest(), won[0]);
}

#[tokio::test]
async fn repeating_what_was_done_is_no_error() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    let release = Release::new("1").await;
    let digest = release.push(&pusher, "demo/app", 1, None).await;
    release.upload(&pusher, "demo/app").await;
    let record = sign(&release.record("demo/app", 1, None));
    pusher
        .post_generation(&name("demo/app"), &record)
        .await
        .unwrap();
    let live = sign(&pointer("demo/app", 1, digest, 1));
    pusher.put_live(&name("demo/app"), &live).await.unwrap();
    assert_eq!(
        pusher
            .history(&name("demo/app"))
            .await
            .unwrap()
            .pointers
            .len(),
        1
    );
}

#[tokio::test]
async fn the_pointer_moves_by_one_and_only_to_what_exists() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    let digest = Release::new("1")
        .await
        .push(&pusher, "demo/app", 1, None)
        .await;
    let app = name("demo/app");
    for sequence in [0, 1, 3, (1 << 53) - 1] {
        let mut moved = pointer("demo/app", 1, digest, sequence);
        moved.time = "2026-11-24T11:00:00Z".to_owned();
        let text = refusal(
            pusher.put_live(&app, &sign(&moved)).await,
            ErrorCode::PointerMoved,
        );
        assert!(text.contains("has sequence 1, so the next is 2"), "{text}");
    }
    for (number, digest) in [(2, digest), (1, Digest::of(b"no record"))] {
        let outcome = pusher
            .put_live(&app, &sign(&pointer("demo/app", number, digest, 2)))
            .await;
        let text = refusal(outcome, ErrorCode::Incomplete);
        assert!(
            text.contains(&format!("generation {number} with digest {digest}")),
            "{text}"
        );
    }
    let foreign = sign(&pointer("demo/other", 1, digest, 2));
    refusal(pusher.put_live(&app, &foreign).await, ErrorCode::BadRequest);
}

#[tokio::test]
async fn nothing_is_published_before_its_bytes_are_there() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    let release = Release::new("1").await;
    let app = name("demo/app");
    let record = release.record("demo/app", 1, None);

    release.library.upload(&pusher, "demo").await;
    let text = refusal(
        pusher.post_generation(&app, &sign(&record)).await,
        ErrorCode::Incomplete,
    );
    assert!(
        text.contains(&release.environment.path().to_string()),
        "{text}"
    );

    release.environment.upload(&pusher, "demo").await;
    let text = refusal(
        pusher.post_generation(&app, &sign(&record)).await,
        ErrorCode::Incomplete,
    );
    assert!(
        text.contains(&Digest::of(&release.sbom).to_string()),
        "{text}"
    );

    pusher
        .put_document(&app, Digest::of(&release.sbom), release.sbom.clone().into())
        .await
        .unwrap();
    let mut other = record.clone();
    let system = other.systems.values_mut().next().unwrap();
    system.closure[0].nar_hash = nix_data::Hash::sha256(b"other bytes");
    let text = refusal(
        pusher.post_generation(&app, &sign(&other)).await,
        ErrorCode::Incomplete,
    );
    assert!(text.contains("with NAR hash"), "{text}");

    // Another owner's cache does not count.
    let record = sign(&release.record("other/app", 1, None));
    let outcome = hub
        .pusher("other")
        .post_generation(&name("other/app"), &record)
        .await;
    refusal(outcome, ErrorCode::Incomplete);
    assert!(
        pusher.environments().await.unwrap().environments.is_empty(),
        "nothing was made"
    );
}

#[tokio::test]
async fn records_that_are_wrong_in_themselves_are_refused() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    let release = Release::new("1").await;
    release.upload(&pusher, "demo/app").await;
    let app = name("demo/app");
    let record = release.record("demo/app", 1, None);

    let foreign = sign(&release.record("demo/other", 1, None));
    let text = refusal(
        pusher.post_generation(&app, &foreign).await,
        ErrorCode::BadRequest,
    );
    assert!(text.contains("demo/other"), "{text}");

    let mut open = record.clone();
    open.systems
        .values_mut()
        .next()
        .unwrap()
        .closure
        .retain(|one| one.path == *release.environment.path());
    let text = refusal(
        pusher.post_generation(&app, &sign(&open)).await,
        ErrorCode::BadRequest,
    );
    assert!(text.contains("refers to"), "{text}");

    let mut spaced = sign(&record);
    spaced.record = spaced.record.replacen(':', ": ", 1);
    let text = refusal(
        pusher.post_generation(&app, &spaced).await,
        ErrorCode::BadRequest,
    );
    assert!(text.contains("canonical"), "{text}");

    let mut scribbled = sign(&record);
    scribbled.signatures = vec!["no signature".to_owned()];
    refusal(
        pusher.post_generation(&app, &scribbled).await,
        ErrorCode::BadRequest,
    );

    let mut unsigned = sign(&record);
    unsigned.signatures.clear();
    let text = refusal(
        pusher.post_generation(&app, &unsigned).await,
        ErrorCode::Unsigned,
    );
    assert!(text.contains("nival key generate"), "{text}");
}

#[tokio::test]
async fn a_hub_that_accepts_unsigned_records_does() {
    let hub = Hub::start_with(&["--accept-unsigned"]);
    let pusher = hub.pusher("demo");
    let release = Release::new("1").await;
    release.upload(&pusher, "demo/app").await;
    let mut unsigned = sign(&release.record("demo/app", 1, None));
    unsigned.signatures.clear();
    pusher
        .post_generation(&name("demo/app"), &unsigned)
        .await
        .unwrap();
    let read = pusher
        .generation(&"demo/app:1".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(read, unsigned);
}

#[tokio::test]
async fn other_bytes_under_a_path_are_told_before_the_upload() {
    let hub = Hub::start();
    let pusher = hub.pusher("demo");
    let ours = Package::new("tool-1", b"ours", &[]).await;
    let theirs = Package::new("tool-1", b"theirs", &[]).await;
    ours.upload(&pusher, "demo").await;
    let question = MissingRequest {
        paths: vec![theirs.wanted()],
    };
    let answer = pusher.missing("demo", &question).await.unwrap();
    assert_eq!(answer.different, [theirs.path().clone()]);
    assert_eq!(answer.missing, []);
}
