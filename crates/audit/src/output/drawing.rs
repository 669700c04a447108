//! The drawing: internet -> interface -> filter -> socket -> process -> data, once for wide pages
//! and once for narrow ones.
//!
//! Open ways are red and thick, stopped ones end at a bar, undecided ones are dashed: never told by
//! colour alone. Coordinates are whole numbers of a view box; the page scales it.

use std::fmt::Write as _;

use super::html::escape;
use super::{Page, class};
use crate::findings::{Door, Installation, Verdict};
use crate::texts::width;

/// Doors that are drawn; the worst come first and the rest is in the table.
const DOORS_MAX: usize = 8;
/// Height of a row.
const ROW: usize = 64;
/// Height of a box.
const BOX: usize = 44;
/// Left edges and widths of the six columns of the wide drawing.
const COLUMNS: [(usize, usize); 6] =
    [(8, 104), (150, 150), (338, 150), (526, 150), (706, 150), (884, 108)];
/// Width of a column of text, in tenths of a unit of the view box.
const TEXT_TENTHS: usize = 66;

/// Both drawings of one cache.
pub(super) fn draw(page: &Page<'_>, cache: &Installation) -> String {
    let doors: Vec<&Door> = cache.doors.iter().take(DOORS_MAX).collect();
    format!("{}{}", wide(page, cache, &doors), narrow(page, cache, &doors))
}

struct Canvas {
    out: String,
}

impl Canvas {
    fn open(class: &str, size: (usize, usize), title: &str) -> Self {
        let (w, h) = size;
        let title = escape(title);
        let mut out = format!(
            "<svg class=\"{class}\" viewBox=\"0 0 {w} {h}\" role=\"img\" \
             xmlns=\"http://www.w3.org/2000/svg\"><title>{title}</title>\n"
        );
        for kind in ["open", "unknown", "local"] {
            let _ = write!(
                out,
                "<defs><marker id=\"{class}-{kind}\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" \
                 markerWidth=\"5\" markerHeight=\"5\" orient=\"auto-start-reverse\">\
                 <path class=\"head {kind}\" d=\"M0 0L8 4L0 8z\"/></marker></defs>"
            );
        }
        Self { out }
    }

    fn close(mut self) -> String {
        self.out.push_str("</svg>\n");
        self.out
    }

    /// A box with two lines; the whole texts stand in its title.
    fn node(&mut self, class: &str, at: (usize, usize), size: (usize, usize), lines: [&str; 2]) {
        let ((x, y), (w, h)) = (at, size);
        let whole = escape(lines.join(" ").trim());
        let _ = write!(
            self.out,
            "<g class=\"node {class}\"><title>{whole}</title>\
             <rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"5\"/>"
        );
        let middle = x + w / 2;
        let lines: Vec<&str> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        let first = y + h / 2 + 5 - (lines.len().saturating_sub(1)) * 9;
        for (index, line) in lines.iter().enumerate() {
            let class = if index == 0 { "name" } else { "more" };
            let text = escape(&cut(line, w.saturating_sub(8) * 10 / TEXT_TENTHS));
            let y = first + index * 17;
            let _ =
                write!(self.out, "<text class=\"{class}\" x=\"{middle}\" y=\"{y}\">{text}</text>");
        }
        self.out.push_str("</g>\n");
    }

    fn arrow(&mut self, kind: &str, svg: &str, from: (usize, usize), to: (usize, usize)) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.out,
            "<line class=\"way {kind}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" \
             marker-end=\"url(#{svg}-{kind})\"/>"
        );
    }

    /// A bar: here a way ends.
    fn bar(&mut self, x: usize, y: usize) {
        let (y1, y2) = (y.saturating_sub(12), y + 12);
        let _ = writeln!(
            self.out,
            "<line class=\"bar\" x1=\"{x}\" y1=\"{y1}\" x2=\"{x}\" y2=\"{y2}\"/>"
        );
    }

    fn label(&mut self, class: &str, at: (usize, usize), text: &str) {
        let (x, y) = at;
        let text = escape(text);
        let _ = writeln!(self.out, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{text}</text>");
    }
}

/// `text` in at most `columns` columns.
fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    for c in text.chars() {
        if width(&out) + 3 > columns {
            break;
        }
        out.push(c);
    }
    out + ".."
}

fn reflects(door: &Door) -> bool {
    door.transport == "udp" && matches!(door.verdict, Verdict::Open | Verdict::OpenIfMapped)
}

fn reflected(page: &Page<'_>, doors: &[&Door]) -> Option<String> {
    let door = doors.iter().find(|door| reflects(door))?;
    let Some(factor) = door.factor else {
        return Some(page.get("label.reflected-unmeasured").to_owned());
    };
    Some(page.texts.fill("label.reflected", &[("factor", &format!("{factor:.0}"))]))
}

fn process_words(page: &Page<'_>, cache: &Installation) -> (String, String) {
    let version = cache.version.as_deref().unwrap_or("");
    let pid = cache
        .pid
        .map_or_else(|| page.get("label.not-running").to_owned(), |pid| format!("pid {pid}"));
    (format!("{} {version}", cache.name).trim().to_owned(), pid)
}

fn wide(page: &Page<'_>, cache: &Installation, doors: &[&Door]) -> String {
    const SVG: &str = "wide";
    let rows = doors.len().max(1);
    let back = reflected(page, doors);
    let height = rows * ROW + 34 + if back.is_some() { ROW } else { 0 };
    let mut canvas = Canvas::open(SVG, (1000, height), page.get("label.drawing"));
    let heads = ["internet", "interface", "filter", "socket", "process", "data"];
    for (head, (x, w)) in heads.iter().zip(COLUMNS) {
        let text = page.texts.get(&format!("label.{head}")).to_owned();
        canvas.label("column", (x + w / 2, 16), &text);
    }
    let (span, top) = (rows * ROW - (ROW - BOX), 28);
    let from_outside = doors.iter().any(|door| door.verdict > Verdict::Local);
    if from_outside {
        node_in(&mut canvas, 0, "outside", (top, span), [page.get("label.internet"), ""]);
    }
    // Under the boxes, so that it seems to pass behind the doors below its own.
    if let Some(words) = back {
        flood_back(page, &mut canvas, doors, (top, rows), &words);
    }
    for (row, door) in doors.iter().enumerate() {
        wide_row(page, &mut canvas, door, top + row * ROW);
    }
    let (name, pid) = process_words(page, cache);
    node_in(&mut canvas, 4, "inside", (top, span), [&name, &pid]);
    let worst = doors.iter().map(|door| door.verdict).max().unwrap_or(Verdict::Local);
    let middle = top + span / 2;
    canvas.arrow(class(worst), SVG, (856, middle), (884, middle));
    let data = page.data(cache);
    let (items, bytes) = data.split_once(", ").unwrap_or((&data, ""));
    node_in(&mut canvas, 5, "inside", (top, span), [items, bytes]);
    canvas.close()
}

/// From the socket that reflects back to who never asked.
fn flood_back(
    page: &Page<'_>,
    canvas: &mut Canvas,
    doors: &[&Door],
    (top, rows): (usize, usize),
    words: &str,
) {
    let row = doors.iter().position(|door| reflects(door)).unwrap_or(0);
    let y = top + rows * ROW;
    let (foot, turn) = (top + row * ROW + BOX, y + BOX / 2);
    node_in(canvas, 0, "victim", (y, BOX), [page.get("label.victim"), ""]);
    canvas.arrow("open", "wide", (601, turn), (112, turn));
    let _ = writeln!(
        canvas.out,
        "<line class=\"way open\" x1=\"601\" y1=\"{foot}\" x2=\"601\" y2=\"{turn}\"/>"
    );
    canvas.label("flood", (360, turn.saturating_sub(8)), words);
}

fn node_in(
    canvas: &mut Canvas,
    column: usize,
    class: &str,
    rows: (usize, usize),
    lines: [&str; 2],
) {
    let Some((x, w)) = COLUMNS.get(column) else { return };
    canvas.node(class, (*x, rows.0), (*w, rows.1), lines);
}

fn wide_row(page: &Page<'_>, canvas: &mut Canvas, door: &Door, y: usize) {
    const SVG: &str = "wide";
    let kind = class(door.verdict);
    let middle = y + BOX / 2;
    let from_outside = door.verdict > Verdict::Local;
    if from_outside {
        canvas.arrow(kind, SVG, (112, middle), (150, middle));
        canvas.arrow(kind, SVG, (300, middle), (338, middle));
        let filter = filter_words(page, door);
        node_in(canvas, 2, kind, (y, BOX), [door.verdict.name(), &filter]);
        if door.verdict == Verdict::Filtered {
            canvas.bar(500, middle);
        } else {
            canvas.arrow(kind, SVG, (488, middle), (526, middle));
        }
        node_in(canvas, 1, kind, (y, BOX), [&door.interface, &door.address]);
    } else {
        node_in(canvas, 1, kind, (y, BOX), [page.get("label.local-program"), &door.interface]);
        node_in(canvas, 2, kind, (y, BOX), [door.verdict.name(), ""]);
        canvas.arrow(kind, SVG, (300, middle), (338, middle));
        canvas.arrow(kind, SVG, (488, middle), (526, middle));
    }
    node_in(canvas, 3, kind, (y, BOX), [&door.transport, &door.bound]);
    let into = if door.verdict == Verdict::Filtered { "local" } else { kind };
    canvas.arrow(into, SVG, (676, middle), (706, middle));
}

fn filter_words(page: &Page<'_>, door: &Door) -> String {
    match door.filter.split_once(": ") {
        Some((_, rule)) => rule.to_owned(),
        None if door.filter.is_empty() => page.get("label.no-filter").to_owned(),
        None => door.filter.clone(),
    }
}

/// What the drawing of [`narrow`] is called.
const NARROW: &str = "narrow";

/// One below the other, 340 units wide.
fn narrow(page: &Page<'_>, cache: &Installation, doors: &[&Door]) -> String {
    const STEP: usize = 78;
    let back = reflected(page, doors);
    let rows = doors.len() + 3 + usize::from(back.is_some());
    let height = rows * STEP;
    let mut canvas = Canvas::open(NARROW, (340, height), page.get("label.drawing"));
    let mut y = 4;
    if doors.iter().any(|door| door.verdict > Verdict::Local) {
        canvas.node("outside", (100, y), (140, 34), [page.get("label.internet"), ""]);
        y += STEP - 24;
    }
    // A rail on the left leads past the doors; each takes its own way off it.
    let rail = y.saturating_sub(STEP - 24) + 17;
    let (first, foot) = (y, y + doors.len() * STEP + BOX / 2);
    // The worst door comes first and is drawn last: its way lies over those of the others.
    for (row, door) in doors.iter().enumerate().rev() {
        narrow_door(&mut canvas, door, first + row * STEP, (rail, foot));
    }
    y += doors.len() * STEP;
    let (name, pid) = process_words(page, cache);
    canvas.node("inside", (70, y), (200, BOX), [&name, &pid]);
    let worst = doors.iter().map(|door| door.verdict).max().unwrap_or(Verdict::Local);
    canvas.arrow(class(worst), NARROW, (322, y + BOX / 2), (272, y + BOX / 2));
    canvas.arrow(class(worst), NARROW, (170, y + BOX), (170, y + STEP - 8));
    y += STEP - 6;
    let data = page.data(cache);
    canvas.node("inside", (70, y), (200, BOX), [&data, ""]);
    if let Some(words) = back {
        y += STEP - 6;
        let lines = [page.get("label.victim"), words.as_str()];
        canvas.node("victim", (48, y), (244, 50), lines);
    }
    canvas.close()
}

/// A door at height `y`, its way in from the `rail` and its way down to the `foot`.
fn narrow_door(canvas: &mut Canvas, door: &Door, y: usize, (rail, foot): (usize, usize)) {
    let (kind, middle) = (class(door.verdict), y + 30);
    if door.verdict > Verdict::Local {
        canvas.arrow(kind, NARROW, (18, middle), (48, middle));
        let _ = writeln!(
            canvas.out,
            "<path class=\"way {kind}\" fill=\"none\" d=\"M100 {rail}H18V{middle}\"/>"
        );
    }
    let place = format!("{} {}", door.transport, door.bound);
    let way = match door.verdict {
        Verdict::Local => format!("LOCAL {}", door.interface),
        verdict => format!("{} {} {}", verdict.name(), door.interface, door.address),
    };
    canvas.node(kind, (48, y), (244, 60), [&place, &way]);
    if door.verdict == Verdict::Filtered {
        canvas.bar(304, middle);
    } else {
        let _ = writeln!(
            canvas.out,
            "<path class=\"way {kind}\" fill=\"none\" d=\"M292 {middle}H322V{foot}\"/>"
        );
    }
}
