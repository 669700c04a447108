//! Pictures for documents: small panels of lines, as SVG that needs nothing else.

use std::fmt::Write as _;

/// One diagram.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Above it.
    pub title: String,
    /// In it.
    pub lines: Vec<Line>,
}

/// One line of a diagram.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Whose it is.
    pub name: String,
    /// MiB resident, miss ratio.
    pub points: Vec<(f64, f64)>,
}

/// A panel in pixels, its margins included.
const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 224.0;
/// Left of, below, above and right of the diagram itself; above it stands the title, and below
/// that, in rows of their own, the names of the lines: no line can run through them.
const LEFT: f64 = 46.0;
const BELOW: f64 = 38.0;
const ABOVE: f64 = 26.0;
const RIGHT: f64 = 14.0;
/// Names side by side, and the height of a row of them.
const NAMES: usize = 2;
const NAMES_HEIGHT: f64 = 14.0;
/// Of a name, shown: as much as half the width takes in letters of this size.
const NAME_LETTERS_MAX: usize = 21;
/// Panels side by side.
const COLUMNS: usize = 3;
/// What is drawn over what.
const ACROSS_AND_UP: &str = "across: MiB resident; up: miss ratio";
/// Distinct for eyes that see no red or no green.
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#666666"];

/// All panels in rows of three, each with the names of its lines.
#[must_use]
pub fn svg(panels: &[Panel]) -> String {
    let columns = panels.len().clamp(1, COLUMNS);
    let rows = panels.len().div_ceil(COLUMNS).max(1);
    let (width, height) = (WIDTH * columns as f64, HEIGHT * rows as f64);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"10\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    for (number, panel) in panels.iter().enumerate() {
        let x = WIDTH * (number % COLUMNS) as f64;
        let y = HEIGHT * (number / COLUMNS) as f64;
        // Writing to a string does not fail.
        let _ = writeln!(out, "<g transform=\"translate({x} {y})\">");
        draw(&mut out, panel);
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

fn draw(out: &mut String, panel: &Panel) {
    let points = || panel.lines.iter().flat_map(|line| &line.points);
    let x_most = round_up(points().map(|point| point.0).fold(0.0, f64::max));
    let y_most = round_up(points().map(|point| point.1).fold(0.0, f64::max));
    let above = ABOVE + NAMES_HEIGHT * panel.lines.len().div_ceil(NAMES) as f64;
    let (inner_width, inner_height) = (WIDTH - LEFT - RIGHT, HEIGHT - above - BELOW);
    let x_at = |x: f64| LEFT + x / x_most * inner_width;
    let y_at = |y: f64| above + (1.0 - y / y_most) * inner_height;
    text(out, (LEFT, 16.0), "start", &panel.title);
    for step in 0..=4 {
        let share = f64::from(step) / 4.0;
        let (x, y) = (x_at(x_most * share), y_at(y_most * share));
        let (right, low) = (WIDTH - RIGHT, y_at(0.0));
        let _ =
            writeln!(out, "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#dddddd\" fill=\"none\"/>");
        text(out, (LEFT - 5.0, y + 3.0), "end", &shown(y_most * share));
        text(out, (x, low + 13.0), "middle", &shown(x_most * share));
    }
    text(out, (LEFT + inner_width / 2.0, HEIGHT - 9.0), "middle", ACROSS_AND_UP);
    for (line, colour) in panel.lines.iter().zip(COLOURS.iter().cycle()) {
        let path: Vec<String> =
            line.points.iter().map(|&(x, y)| format!("{:.1} {:.1}", x_at(x), y_at(y))).collect();
        let _ = writeln!(
            out,
            "<path d=\"M{}\" stroke=\"{colour}\" stroke-width=\"2\" fill=\"none\"/>",
            path.join("L")
        );
        for &(x, y) in &line.points {
            let (x, y) = (x_at(x), y_at(y));
            let _ =
                writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
    }
    names(out, panel);
}

fn names(out: &mut String, panel: &Panel) {
    for (number, (line, colour)) in panel.lines.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let x = LEFT + (WIDTH - LEFT - RIGHT) / NAMES as f64 * (number % NAMES) as f64;
        let y = ABOVE + 4.0 + NAMES_HEIGHT * (number / NAMES) as f64;
        let (dot_x, dot_y) = (x + 4.0, y - 3.5);
        let _ = writeln!(out, "<circle cx=\"{dot_x}\" cy=\"{dot_y}\" r=\"3\" fill=\"{colour}\"/>");
        let name: String = line.name.chars().take(NAME_LETTERS_MAX).collect();
        text(out, (x + 11.0, y), "start", &name);
    }
}

fn text(out: &mut String, (x, y): (f64, f64), anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ =
        writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>");
}

/// The next of 1, 2, 4, 5, 8, 10 times a power of ten; 1 for nothing or less.
fn round_up(most: f64) -> f64 {
    if most <= 0.0 || !most.is_finite() {
        return 1.0;
    }
    let unit = 10.0_f64.powf(most.log10().floor());
    let steps = [1.0, 2.0, 4.0, 5.0, 8.0, 10.0];
    unit * steps.into_iter().find(|step| unit * step >= most * 0.999_999).unwrap_or(10.0)
}

fn shown(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every element is closed in the order in which elements were opened.
    fn check_nesting(svg: &str) {
        let mut open = Vec::new();
        for tag in svg.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name));
            } else if !tag.ends_with('/') {
                open.push(tag.split_whitespace().next().unwrap());
            }
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        }
        assert_eq!(open, [""; 0]);
    }

    #[test]
    fn a_picture_is_well_formed_whatever_it_shows() {
        let line = |points: &[(f64, f64)]| Line { name: "a <b> & c".into(), points: points.into() };
        let empty = Panel { title: "x < y".into(), lines: vec![] };
        let flat = Panel { title: "t".into(), lines: vec![line(&[(0.0, 0.0)]), line(&[])] };
        let full = Panel { title: "u".into(), lines: vec![line(&[(12.8, 0.5), (25.0, 0.25)]); 6] };
        for panels in [vec![], vec![empty.clone()], vec![flat, full, empty.clone(), empty]] {
            let svg = svg(&panels);
            check_nesting(&svg);
            assert!(svg.is_ascii() && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!(
            [round_up(0.0), round_up(12.8), round_up(0.43), round_up(1.0)],
            [1.0, 20.0, 0.5, 1.0]
        );
        assert_eq!([shown(0.125), shown(20.0), shown(0.0)], ["0.125", "20", "0"]);
    }
}
