//! Sets of ports, read and shown.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn shown(text: &str) -> String {
    text.parse::<PortSet>().unwrap().to_string()
}

#[test]
fn reads_ports_ranges_and_exceptions() {
    assert_eq!(shown("21"), "21");
    assert_eq!(
        shown(" 30000 - 50000 , ! 33060 "),
        "30000-33059,33061-50000"
    );
    assert_eq!(
        shown("!33060,30000-50000,60000"),
        "30000-33059,33061-50000,60000"
    );
    assert_eq!(shown("1-65535"), "1-65535");
    assert_eq!(shown("5,3-4,1-2,9"), "1-5,9");
    assert_eq!(shown("1-10,!1-3,!10,!5-6"), "4,7-9");
    assert_eq!(shown("65535,65534"), "65534-65535");
}

#[test]
fn leaves_out_what_is_not_wanted() {
    let ports: PortSet = "30000-30010,30020".parse().unwrap();
    let shown = |ports: Option<PortSet>| ports.map(|ports| ports.to_string());
    let wanted = ports.only(|port| port > 30007 || port == 30002);
    assert_eq!(shown(wanted).as_deref(), Some("30002,30008-30010,30020"));
    assert_eq!(shown(ports.only(|port| port == 30011)), None);
}

#[test]
fn refuses_what_is_no_set_of_ports() {
    let refused = |text: &str| text.parse::<PortSet>().unwrap_err();
    assert_eq!(refused(""), PortSetError::Empty);
    assert_eq!(refused("  "), PortSetError::Empty);
    assert_eq!(refused("!5"), PortSetError::Empty);
    assert_eq!(refused("5-6,!1-65535"), PortSetError::Empty);
    assert_eq!(
        refused("50000-30000"),
        PortSetError::Backwards(50000, 30000)
    );
    for piece in [
        "0",
        "0-5",
        "65536",
        "-5",
        "5-",
        "1-2-3",
        "+5",
        "a",
        "5 6",
        "٣",
        "!!5",
        "99999999999",
    ] {
        let piece_alone = piece.strip_prefix('!').unwrap_or(piece).to_owned();
        assert_eq!(refused(piece), PortSetError::NotAPort(piece_alone));
    }
    assert_eq!(refused("5,,6"), PortSetError::NotAPort(String::new()));
}

#[test]
fn ranges_are_sets_too() {
    assert_eq!(PortSet::range(5..=9).unwrap().to_string(), "5-9");
    assert_eq!(PortSet::range(0..=9), None);
    #[expect(clippy::reversed_empty_ranges, reason = "the case under test")]
    let backwards = PortSet::range(9..=5);
    assert_eq!(backwards, None);
    assert_eq!(PortSet::default(), "30000-50000".parse().unwrap());
}

proptest! {
    #[test]
    fn agrees_with_a_plain_set(
        pieces in proptest::collection::vec(
            (any::<bool>(), 1u16..300, 0u16..40, any::<bool>()), 1..8),
        high in any::<bool>(),
    ) {
        // At the upper end of the ports too, where arithmetic overflows.
        let shift = if high { 65535 - 340 } else { 0 };
        let (mut model, mut holes) = (BTreeSet::new(), BTreeSet::new());
        let mut text = Vec::new();
        for (hole, first, width, single) in pieces {
            let (first, last) = (first + shift, first + shift + if single { 0 } else { width });
            if hole { holes.extend(first..=last) } else { model.extend(first..=last) }
            let bang = if hole { "!" } else { "" };
            text.push(if single { format!("{bang}{first}") } else { format!("{bang}{first}-{last}") });
        }
        let model: Vec<u16> = model.difference(&holes).copied().collect();
        match text.join(",").parse::<PortSet>() {
            Err(error) => {
                prop_assert_eq!(error, PortSetError::Empty);
                prop_assert!(model.is_empty());
            }
            Ok(set) => {
                prop_assert_eq!(set.iter().collect::<Vec<_>>(), model.clone());
                prop_assert_eq!(set.len(), model.len());
                for (index, port) in model.iter().enumerate() {
                    prop_assert_eq!(set.nth(index), Some(*port));
                }
                prop_assert_eq!(set.nth(model.len()), None);
                for port in 1..=u16::MAX {
                    prop_assert_eq!(set.contains(port), model.binary_search(&port).is_ok());
                }
                prop_assert_eq!(set.to_string().parse::<PortSet>().unwrap(), set);
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[0-9,!\\- a]{0,20}") {
        if let Ok(set) = text.parse::<PortSet>() {
            prop_assert!(!set.contains(0) && set.len() > 0);
        }
    }
}
