//! Plots panels side by side, as an SVG: CPU time and peak memory by number of rows, and others of this form.

use std::fmt::Write;

use crate::figures::Figures;

/// A panel's size, and the space for its labels, in pixels.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 56.0;
const TOP: f64 = 30.0;
const RIGHT: f64 = 16.0;
const BOTTOM: f64 = 40.0;

/// The colours of the modes, distinguishable on any background and by everyone (Okabe and Ito).
const COLOURS: [&str; 3] = ["#0072b2", "#d55e00", "#009e73"];

/// The target for ingest's memory, in MiB.
const MEMORY_LIMIT: f64 = 64.0;

/// One line of a panel.
#[derive(Debug)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// A panel.
#[derive(Debug)]
pub struct Panel<'a> {
    /// The title, above it: what the y axis shows.
    pub title: &'a str,
    /// What the x axis shows.
    pub x_title: &'a str,
    /// The x axis.
    pub x: Scale,
    /// The y axis.
    pub y: Scale,
    /// The lines.
    pub all: &'a [Series],
    /// Ranges of x that are shaded.
    pub bands: &'a [(f64, f64)],
    /// Whether each point has a dot.
    pub dots: bool,
}

/// Maps a value to a position along an axis.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    from: f64,
    to: f64,
    logarithmic: bool,
}

impl Scale {
    /// Returns the position of a value, from 0 to 1.
    fn place(self, value: f64) -> f64 {
        let along = |v: f64| if self.logarithmic { v.log10() } else { v };
        (along(value) - along(self.from)) / (along(self.to) - along(self.from))
    }

    /// Returns the values to label: powers of ten, or quarters.
    fn ticks(self) -> Vec<f64> {
        if !self.logarithmic {
            return [0.0, 0.25, 0.5, 0.75, 1.0]
                .map(|part| self.from + part * (self.to - self.from))
                .to_vec();
        }
        let powers = std::iter::successors(Some(self.from), |tick| Some(tick * 10.0));
        powers.take_while(|tick| *tick <= self.to * 1.001).collect()
    }

    /// Returns an axis from 0.
    pub fn linear(to: f64) -> Self {
        Self {
            from: 0.0,
            to,
            logarithmic: false,
        }
    }

    /// Returns the powers of ten around these values.
    pub fn decades(values: impl Iterator<Item = f64> + Clone) -> Self {
        let least = values.clone().fold(f64::INFINITY, f64::min).max(1e-6);
        let most = values.fold(least, f64::max);
        let from = 10_f64.powf(least.log10().floor());
        Self {
            from,
            to: 10_f64.powf(most.log10().ceil()).max(from * 10.0),
            logarithmic: true,
        }
    }
}

/// Draws both panels.
#[expect(clippy::cast_precision_loss, reason = "a pixel is coarser")]
pub fn draw(points: &[Figures]) -> String {
    let rows = Scale::decades(points.iter().map(|p| p.rows as f64));
    let time = series(points, |p| Some(p.cpu_seconds));
    let memory = series(points, |p| {
        p.peak_rss_bytes.map(|bytes| bytes as f64 / 1_048_576.0)
    });
    let seconds = Scale::decades(points.iter().map(|p| p.cpu_seconds));
    let panel = |title, y, all| Panel {
        title,
        x_title: "rows",
        x: rows,
        y,
        all,
        bands: &[],
        dots: true,
    };
    image(
        "CPU time and peak memory of ingest against rows",
        &[
            panel("CPU seconds", seconds, &time),
            panel("peak RSS, MiB", Scale::linear(MEMORY_LIMIT * 1.25), &memory),
        ],
        Some(MEMORY_LIMIT),
    )
}

/// Draws two panels, the second with a dashed line at a limit, if it has one.
pub fn image(title: &str, panels: &[Panel; 2], limit: Option<f64>) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {HEIGHT}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"11\" fill=\"#222\">\n\
         <title>{title}</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        2.0 * WIDTH
    );
    draw_panel(&mut svg, 0.0, &panels[0]);
    draw_panel(&mut svg, WIDTH, &panels[1]);
    if let Some(limit) = limit {
        let y = height_of(panels[1].y, limit);
        let _ = writeln!(
            svg,
            "<path d=\"M{:.1} {y:.1}H{:.1}\" stroke=\"#666\" stroke-dasharray=\"4 3\"/>",
            WIDTH + LEFT,
            2.0 * WIDTH - RIGHT
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// Returns the points by measurement.
#[expect(clippy::cast_precision_loss, reason = "a pixel is coarser")]
fn series(points: &[Figures], value: impl Fn(&Figures) -> Option<f64>) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    for point in points {
        let Some(value) = value(point) else { continue };
        let at = (point.rows as f64, value);
        match all.iter_mut().find(|series| series.name == point.what) {
            Some(series) => series.points.push(at),
            None => all.push(Series {
                name: point.what.clone(),
                points: vec![at],
            }),
        }
    }
    for series in &mut all {
        series.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    all
}

fn height_of(scale: Scale, value: f64) -> f64 {
    HEIGHT - BOTTOM - scale.place(value) * (HEIGHT - TOP - BOTTOM)
}

fn draw_panel(svg: &mut String, left: f64, panel: &Panel) {
    let Panel {
        title, x, y, all, ..
    } = *panel;
    let across = |value: f64| left + LEFT + x.place(value) * (WIDTH - LEFT - RIGHT);
    let (start, end) = (left + LEFT, left + WIDTH - RIGHT);
    let bottom = HEIGHT - BOTTOM;
    let _ = writeln!(
        svg,
        "<text x=\"{start}\" y=\"16\" font-weight=\"600\">{title}</text>"
    );
    for &(from, to) in panel.bands {
        let (from, to) = (across(from), across(to));
        let _ = writeln!(
            svg,
            "<rect x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#eee\"/>",
            to - from,
            bottom - TOP
        );
    }
    for tick in y.ticks() {
        let at = height_of(y, tick);
        let _ = writeln!(
            svg,
            "<path d=\"M{start} {at:.1}H{end}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            start - 6.0,
            at + 4.0,
            label(tick)
        );
    }
    for tick in x.ticks() {
        let at = across(tick);
        let _ = writeln!(
            svg,
            "<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#eee\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 16.0,
            label(tick)
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
        f64::midpoint(start, end),
        bottom + 32.0,
        panel.x_title
    );
    for (n, series) in all.iter().enumerate() {
        let colour = COLOURS[n % COLOURS.len()];
        let mut line = String::new();
        for (n, &(rows, value)) in series.points.iter().enumerate() {
            let (at, up) = (across(rows), height_of(y, value));
            let _ = write!(line, "{}{at:.1} {up:.1}", if n == 0 { "M" } else { "L" });
            if panel.dots {
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{at:.1}\" cy=\"{up:.1}\" r=\"3\" fill=\"{colour}\"/>"
                );
            }
        }
        let row = TOP + 12.0 + 14.0 * f64::from(u8::try_from(n).unwrap_or_default());
        let _ = writeln!(
            svg,
            "<path d=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\
             <text x=\"{:.1}\" y=\"{row}\" fill=\"{colour}\">{}</text>",
            start + 8.0,
            series.name
        );
    }
}

/// Formats a tick briefly: 10 k, 1 M.
fn label(value: f64) -> String {
    if value >= 1e6 {
        format!("{} M", value / 1e6)
    } else if value >= 1e3 {
        format!("{} k", value / 1e3)
    } else {
        // As many decimals as the tick has.
        format!("{}", (value * 1e6).round() / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logarithmic_axis_has_powers_of_ten() {
        let scale = Scale::decades([12_000.0, 10_000_000.0].into_iter());
        let labels: Vec<String> = scale.ticks().into_iter().map(label).collect();
        assert_eq!(labels, ["10 k", "100 k", "1 M", "10 M"]);
        assert!((scale.place(100_000.0) - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn every_point_is_drawn() {
        let point = |what: &str, rows, cpu_seconds| Figures {
            what: what.to_owned(),
            rows,
            requests: 0,
            wall_seconds: 0.0,
            cpu_seconds,
            peak_rss_bytes: Some(50 << 20),
            peak_anon_bytes: None,
        };
        let svg = draw(&[
            point("a", 10_000, 0.1),
            point("a", 1_000_000, 10.0),
            point("b", 10_000, 0.2),
        ]);
        assert_eq!(svg.matches("<circle").count(), 6);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
