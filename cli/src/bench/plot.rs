//! Latencies as percentile curves, in one SVG: the share of operations on the x axis, so that each
//! step to the right has a tenth of what is left; the latency on a logarithmic y axis.

use std::fmt::Write as _;

use super::rounds::Latencies;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 540.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 300.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 60.0;
/// Shares of the x axis, and how they are called.
const SHARES: [(f64, &str); 6] = [
    (0.0, "0"),
    (0.5, "50 %"),
    (0.9, "90 %"),
    (0.99, "99 %"),
    (0.999, "99.9 %"),
    (0.9999, "99.99 %"),
];
/// Colours that are told apart also by those who do not see red or green.
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#999999"];
/// Points of a curve.
const POINTS: u32 = 160;

/// A curve with its name.
#[derive(Debug)]
pub(super) struct Curve<'a> {
    pub(super) name: &'a str,
    pub(super) latencies: &'a Latencies,
}

/// The drawing; `subtitle` says the conditions.
pub(super) fn svg(title: &str, subtitle: &str, curves: &[Curve<'_>]) -> String {
    let curves: Vec<&Curve<'_>> = curves.iter().filter(|c| c.latencies.count() > 0).collect();
    let (low, high) = decades(&curves);
    let mut out = String::new();
    let mut put = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    put(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">"
    ));
    put(format!("<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>"));
    put(format!("<text x=\"{LEFT}\" y=\"20\" font-size=\"16\">{}</text>", escaped(title)));
    put(format!("<text x=\"{LEFT}\" y=\"38\" fill=\"#555555\">{}</text>", escaped(subtitle)));
    put(axes(low, high));
    for (index, curve) in curves.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let dash = if index < COLOURS.len() { "" } else { " stroke-dasharray=\"6 3\"" };
        put(format!(
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dash} points=\"{}\"/>",
            points(curve.latencies, low, high)
        ));
        let y = TOP + 14.0 + 18.0 * index as f64;
        let x = WIDTH - RIGHT + 20.0;
        put(format!(
            "<line x1=\"{x}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" \
             stroke-width=\"3\"{dash}/><text x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
            y - 4.0,
            x + 20.0,
            y - 4.0,
            x + 26.0,
            escaped(curve.name)
        ));
    }
    put("</svg>".to_owned());
    out
}

fn axes(low: i32, high: i32) -> String {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let mut out = String::new();
    for exponent in low..=high {
        let us = 10_f64.powi(exponent);
        let y = y_of(us, low, high);
        write!(
            out,
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#bbbbbb\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + 4.0,
            latency_name(us)
        )
        .expect("a String takes all");
        for minor in 2..10 {
            let y = y_of(us * f64::from(minor), low, high);
            if exponent < high {
                write!(
                    out,
                    "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#eeeeee\"/>"
                )
                .expect("a String takes all");
            }
        }
    }
    for (share, name) in SHARES {
        let x = x_of(share);
        write!(
            out,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#dddddd\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>",
            bottom + 18.0
        )
        .expect("a String takes all");
    }
    write!(
        out,
        "<rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"none\" \
         stroke=\"#333333\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">share of operations \
         that took no longer</text><text transform=\"translate(18 {:.1}) rotate(-90)\" \
         text-anchor=\"middle\">latency</text>",
        right - LEFT,
        bottom - TOP,
        f64::midpoint(LEFT, right),
        bottom + 42.0,
        f64::midpoint(TOP, bottom)
    )
    .expect("a String takes all");
    out
}

/// The points of a curve, up to what its number of operations can say.
fn points(latencies: &Latencies, low: i32, high: i32) -> String {
    let last = 1.0 - 1.0 / latencies.count() as f64;
    let mut out = String::new();
    for point in 0..=POINTS {
        let share = share_at(f64::from(point) / f64::from(POINTS)).min(last);
        let y = y_of(latencies.us(share), low, high);
        write!(out, "{:.1},{y:.1} ", x_of(share)).expect("a String takes all");
        if share >= last {
            break;
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// Powers of ten around all latencies in µs.
fn decades(curves: &[&Curve<'_>]) -> (i32, i32) {
    let low = curves.iter().map(|c| c.latencies.us(0.0)).fold(f64::INFINITY, f64::min);
    let high = curves.iter().map(|c| c.latencies.us(0.9999)).fold(0.0, f64::max);
    if high <= 0.0 {
        return (0, 3);
    }
    // From 1 ns to the longest latency that is told apart.
    let exponent = |us: f64| (-3..9).rev().find(|e| us >= 10_f64.powi(*e)).unwrap_or(-3);
    (exponent(low), exponent(high) + 1)
}

/// From 0 at the left to 1 at the right: four nines.
fn fraction_of(share: f64) -> f64 {
    -(1.0 - share.min(0.9999)).log10() / 4.0
}

/// The inverse of [`fraction_of`].
fn share_at(fraction: f64) -> f64 {
    1.0 - 10_f64.powf(-4.0 * fraction)
}

fn x_of(share: f64) -> f64 {
    LEFT + fraction_of(share) * (WIDTH - LEFT - RIGHT)
}

fn y_of(us: f64, low: i32, high: i32) -> f64 {
    let fraction = (us.max(1e-3).log10() - f64::from(low)) / f64::from(high - low);
    HEIGHT - BOTTOM - fraction.clamp(0.0, 1.0) * (HEIGHT - BOTTOM - TOP)
}

fn latency_name(us: f64) -> String {
    match us {
        us if us < 0.999 => format!("{:.0} ns", us * 1e3),
        us if us < 999.0 => format!("{us:.0} µs"),
        us if us < 999_000.0 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.0} s", us / 1e6),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_plot_has_a_curve_a_name_and_readable_axes() {
        let mut latencies = Latencies::default();
        (80..4_000).for_each(|us| latencies.add(Duration::from_micros(us)));
        let (name, none) = ("append <1>", Latencies::default());
        let curves =
            [Curve { name, latencies: &latencies }, Curve { name: "empty", latencies: &none }];
        let svg = svg("Latencies", "256 B & more", &curves);
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
        assert_eq!(svg.matches("<polyline").count(), 1, "what has no latency has no curve");
        for text in ["append &lt;1&gt;", "256 B &amp; more", "10 µs", "10 ms", "99.9 %"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn axes_grow_to_the_right_and_upwards() {
        let xs: Vec<f64> = SHARES.iter().map(|(share, _)| x_of(*share)).collect();
        assert!(xs.is_sorted());
        assert!((xs[0] - LEFT).abs() < 1e-9 && (xs[5] - (WIDTH - RIGHT)).abs() < 1e-6);
        assert!((share_at(fraction_of(0.99)) - 0.99).abs() < 1e-9);
        assert!(y_of(1000.0, 1, 4) < y_of(100.0, 1, 4));
        assert!((y_of(10.0, 1, 4) - (HEIGHT - BOTTOM)).abs() < 1e-9);
        assert!((y_of(1e9, 1, 4) - TOP).abs() < 1e-9, "what is beyond stays at the edge");
    }

    #[test]
    fn latencies_are_named_in_their_unit() {
        for (us, name) in [(0.1, "100 ns"), (1.0, "1 µs"), (1e4, "10 ms"), (1e6, "1 s")] {
            assert_eq!(latency_name(us), name);
        }
        assert!(svg("", "", &[]).contains("</svg>"));
    }
}
