//! One definition, many uses: an enum whose variants, list, names and meanings cannot drift apart.
//!
//! Counters are arrays over `ALL`, pages of documentation are loops over `ALL`: a variant that
//! exists but is missing there would be a refusal that nobody counts. So there is one list.

/// Defines a fieldless enum with `ALL`, `COUNT`, `index()`, `name()` and `explain()`.
macro_rules! catalogue {
    (
        $(#[$outer:meta])*
        $kind:ident { $($variant:ident, $name:literal, $meaning:literal;)+ }
    ) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[repr(u8)]
        pub enum $kind {
            $(#[doc = $meaning] $variant,)+
        }

        impl $kind {
            /// Every variant, in the order of [`Self::index`].
            pub const ALL: [Self; Self::COUNT] = [$(Self::$variant,)+];
            /// How many there are.
            pub const COUNT: usize = [$($name,)+].len();

            /// The position in [`Self::ALL`]: for arrays of counters.
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }

            /// The stable name, in kebab-case: for statistics, logs and documentation.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What it means, in full sentences.
            #[must_use]
            pub const fn explain(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)+
                }
            }

            /// The variant of that name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|each| each.name() == name)
            }
        }

        impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use crate::{Action, Reason, Response};

    fn well_formed(names: &[&str], meanings: &[&str]) {
        for (at, name) in names.iter().enumerate() {
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
            assert!(!names[..at].contains(name), "{name} stands for two things");
        }
        for meaning in meanings {
            assert!(meaning.ends_with('.') && meaning.is_ascii(), "{meaning}");
        }
    }

    #[test]
    fn catalogues_are_well_formed() {
        well_formed(&Action::ALL.map(Action::name), &Action::ALL.map(Action::explain));
        well_formed(&Reason::ALL.map(Reason::name), &Reason::ALL.map(Reason::explain));
        well_formed(&Response::ALL.map(Response::name), &Response::ALL.map(Response::explain));
    }

    #[test]
    fn positions_and_names_lead_back() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
            assert_eq!(Reason::named(reason.name()), Some(reason));
            assert_eq!(reason.to_string(), reason.name());
        }
        assert_eq!(Reason::named("no-such-reason"), None);
    }
}
