//! Where a stream is cut makes no difference.

use kannuki_protocol::Dialect;
use proptest::{collection::vec, prelude::*};

use crate::{
    replay::{Seen, assert_split_invariant, replay},
    streams,
};

fn any_stream() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => streams::text(),
        4 => streams::mutated(streams::text()),
        2 => streams::binary(),
        2 => streams::mutated(streams::binary()),
        1 => vec(any::<u8>(), 0..400),
        1 => vec(prop::sample::select(b"get sm\r\n01 \x80".as_slice()), 0..400),
    ]
}

fn any_dialect() -> impl Strategy<Value = Dialect> {
    prop_oneof![4 => Just(Dialect::Auto), 1 => Just(Dialect::Text), 1 => Just(Dialect::Binary)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_stream_may_be_cut_anywhere(
        dialect in any_dialect(),
        stream in any_stream(),
        lengths in vec(1..200_usize, 0..40),
    ) {
        assert_split_invariant(dialect, &stream, lengths.into_iter());
    }

    #[test]
    fn a_stream_may_come_byte_by_byte(dialect in any_dialect(), stream in any_stream()) {
        let bytes = stream.len();
        assert_split_invariant(dialect, &stream, std::iter::repeat_n(1, bytes));
    }
}

/// The generators are worth nothing if most of what they make is refused at once.
#[test]
fn the_streams_reach_commands_blocks_and_violations() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let (mut commands, mut blocks, mut violations) = (0, 0, 0);
    for _ in 0..300 {
        for stream in [streams::text().boxed(), streams::binary().boxed()] {
            let stream = stream.new_tree(&mut runner).unwrap().current();
            for seen in replay(Dialect::Auto, &stream, std::iter::empty()) {
                match seen {
                    Seen::Command(_) => commands += 1,
                    Seen::Block(_) | Seen::PartOfBlock(_) => blocks += 1,
                    Seen::Violation(_) => violations += 1,
                }
            }
        }
    }
    assert!(
        commands > 1000 && blocks > 200 && violations > 200,
        "{commands} {blocks} {violations}"
    );
}
