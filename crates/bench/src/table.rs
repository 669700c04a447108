//! Numbers in rows: medians, spreads, and Markdown tables whose columns line up.

/// The middle of some measurements, and how far they reach.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// Of at least one measurement; `None` of none. Not-a-number sorts last.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.get(sorted.len() / 2).copied()?;
        let below = sorted.get((sorted.len() - 1) / 2).copied()?;
        let (least, most) = (sorted.first().copied()?, sorted.last().copied()?);
        Some(Self { median: f64::midpoint(below, middle), least, most })
    }

    /// `median (least-most)`.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("{:.3} ({:.3}-{:.3})", self.median, self.least, self.most)
    }
}

/// A Markdown table. The first column is text, the others are aligned to the right.
#[must_use]
pub fn markdown(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|&word| word.to_owned()).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain([&head]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
    };
    let line = |row: &[String]| {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = width(column);
            if column == 0 { format!(" {cell:<width$} |") } else { format!(" {cell:>width$} |") }
        });
        format!("|{}\n", cells.collect::<String>())
    };
    let rule: String = (0..head.len())
        .map(|column| {
            let dashes = "-".repeat(width(column));
            if column == 0 { format!(" {dashes} |") } else { format!(" {dashes}:|") }
        })
        .collect();
    let body: String = rows.iter().map(|row| line(row)).collect();
    format!("{}|{rule}\n{body}", line(&head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert_eq!(Spread::of(&[]), None);
        let spread = Spread::of(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!((spread.median, spread.least, spread.most), (2.0, 1.0, 3.0));
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
    }

    #[test]
    fn columns_line_up() {
        let table = markdown(&["load", "us"], &[vec!["get".into(), "12.5".into()]]);
        assert_eq!(table, "| load |   us |\n| ---- | ----:|\n| get  | 12.5 |\n");
    }
}
