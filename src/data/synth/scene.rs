//! One picture: a background, things on it, light, lens and sensor.

use std::f32::consts::TAU;

use opticus_pixels::{Image8, Size};
use rand::{Rng, RngExt};

use super::color::{Palette, Rgb, blend, encode};
use super::form::{Form, Vec2, length, sub, turn};
use super::paint::{Paint, Pattern, fractal_noise};
use crate::data::sampler::DataRng;

/// Something drawn: a form somewhere, painted.
struct Thing {
    form: Form,
    center: Vec2,
    /// Radius in pixels.
    radius: f32,
    angle: (f32, f32),
    /// Width over height is the square of this.
    stretch: f32,
    paint: Paint,
    look: Look,
}

/// How a thing meets the light.
#[derive(Clone, Copy)]
struct Look {
    /// Depth of the shadow it throws, 0..=1.
    shadow: f32,
    /// Strength of the light along its rim.
    bevel: f32,
    /// A border of this width, in units of the radius.
    border: Option<(f32, Rgb)>,
}

const FLAT: Look = Look { shadow: 0.0, bevel: 0.0, border: None };

impl Thing {
    /// A pixel in the form's own coordinates.
    fn local(&self, p: Vec2) -> Vec2 {
        let [x, y] = turn(sub(p, self.center), (-self.angle.0, self.angle.1));
        [x / (self.radius * self.stretch), y * self.stretch / self.radius]
    }

    /// Distance from the edge in pixels (to within the stretch).
    fn distance(&self, p: Vec2) -> f32 {
        self.form.distance(self.local(p)) * self.radius / self.stretch.max(1.0 / self.stretch)
    }

    /// Share of the pixel at `p` that the form covers.
    fn coverage(&self, p: Vec2) -> f32 {
        (0.5 - self.distance(p)).clamp(0.0, 1.0)
    }

    /// Columns and rows that the form and `margin` pixels about it may touch, beyond the frame too.
    fn extent(&self, margin: f32) -> [std::ops::Range<i32>; 2] {
        let reach = self.form.reach() * self.radius * self.stretch.max(1.0 / self.stretch) + margin + 1.0;
        [0, 1]
            .map(|axis| (self.center[axis] - reach).floor() as i32..(self.center[axis] + reach).ceil() as i32)
    }
}

/// A thing that belongs to a class, and where it can be seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Object {
    /// Its class, an index into [`super::CLASSES`].
    pub label: usize,
    /// Tight box of its visible pixels: first column, first row, width, height.
    pub bounds: [u32; 4],
    /// Pixels of it that are visible.
    pub area: u32,
    /// The share of it that is visible: inside the frame and not covered.
    pub visible: f32,
}

/// What a scene shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cast {
    /// The class of a single object, or several objects of classes drawn at random.
    pub(super) only: Option<usize>,
    /// Side of the square picture in pixels.
    pub(super) side: u32,
}

/// An object keeps at least this share visible, or it is placed anew.
const VISIBLE: f32 = 0.6;

/// Composes and renders a scene.
pub(super) fn render(cast: Cast, rng: &mut DataRng) -> (Image8, Vec<Object>) {
    let stage = Stage::compose(cast, rng);
    let objects = stage.objects();
    let mut canvas = stage.paint_ground(rng);
    for thing in stage.behind.iter().chain(stage.things.iter().map(|(_, t)| t)).chain(&stage.front) {
        stage.paint(thing, &mut canvas);
    }
    (develop(canvas, cast.side, rng), objects)
}

struct Stage {
    side: u32,
    palette: Palette,
    ground: Pattern,
    light: Vec2,
    behind: Vec<Thing>,
    things: Vec<(usize, Thing)>,
    front: Vec<Thing>,
}

impl Stage {
    fn compose(cast: Cast, rng: &mut DataRng) -> Self {
        let side = cast.side as f32;
        let palette = Palette::draw(rng);
        let light: f32 = rng.random_range(-2.6..-0.5);
        let mut stage = Self {
            side: cast.side,
            palette,
            ground: Pattern::draw_ground(rng),
            light: [light.cos(), light.sin()],
            behind: Vec::new(),
            things: Vec::new(),
            front: Vec::new(),
        };
        for _ in 0..rng.random_range(0..5u32) {
            let thing = stage.clutter(rng);
            stage.behind.push(thing);
        }
        match cast.only {
            Some(label) => {
                let thing = stage.object(label, side * rng.random_range(0.22..0.4), rng);
                stage.things.push((label, thing));
            }
            None => {
                for _ in 0..rng.random_range(1..7u32) {
                    stage.add_object(rng);
                }
            }
        }
        if rng.random_bool(0.35) {
            let thing = stage.occluder(rng);
            stage.add_in_front(thing);
        }
        for _ in 0..rng.random_range(0..3u32) {
            let thing = stage.clutter(rng);
            stage.add_in_front(thing);
        }
        stage
    }

    /// Adds a thing in front of the objects, unless it would hide too much of one.
    fn add_in_front(&mut self, thing: Thing) {
        self.front.push(thing);
        if self.objects().iter().any(|o| o.visible < VISIBLE) {
            self.front.pop();
        }
    }

    /// Adds an object where it can be seen and hides no other too much; if none such is found, nothing.
    fn add_object(&mut self, rng: &mut DataRng) {
        let side = self.side as f32;
        for _ in 0..16 {
            let label = rng.random_range(0..super::CLASSES.len() as u64) as usize;
            // Small ones are as likely as large ones: uniform in the logarithm.
            let radius = side * 0.085 * (rng.random_range(0.0..1.0f32) * 2.9f32.ln()).exp();
            let thing = self.object(label, radius.max(4.5), rng);
            self.things.push((label, thing));
            if self.objects().iter().all(|o| o.visible >= VISIBLE) {
                return;
            }
            self.things.pop();
        }
    }

    fn object(&self, label: usize, radius: f32, rng: &mut DataRng) -> Thing {
        let side = self.side as f32;
        let form = Form::of_class(label, rng);
        let angle: f32 = rng.random_range(0.0..TAU);
        let pattern = Pattern::draw(rng);
        let colors = self.palette.pair(0.28, rng);
        let border =
            if rng.random_bool(0.3) { Some((rng.random_range(0.07..0.13), self.accent(rng))) } else { None };
        // Up to a seventh of it may leave the frame.
        let room = (side / 2.0 - 0.86 * radius).max(0.0);
        Thing {
            form,
            center: std::array::from_fn(|_| side / 2.0 + rng.random_range(-1.0..1.0f32) * room),
            radius,
            angle: angle.sin_cos(),
            stretch: rng.random_range(0.92..1.09),
            paint: Paint::new(colors, pattern),
            look: Look {
                shadow: if rng.random_bool(0.75) { rng.random_range(0.25..0.6) } else { 0.0 },
                bevel: if rng.random_bool(0.7) { rng.random_range(0.15..0.5) } else { 0.0 },
                border,
            },
        }
    }

    /// White, black, or a colour of its own.
    fn accent(&self, rng: &mut DataRng) -> Rgb {
        match rng.random_range(0..3u32) {
            0 => [0.94; 3],
            1 => [0.02; 3],
            _ => self.palette.pair(0.2, rng)[0].rgb(),
        }
    }

    /// A short stroke, a squiggle or a crumb: things of no class.
    fn clutter(&self, rng: &mut DataRng) -> Thing {
        let side = self.side as f32;
        let colors = self.palette.pair(0.12, rng);
        let mut at = |range: f32| rng.random_range(-range..range);
        let points: Vec<Vec2> = match at(1.0) {
            k if k < -0.4 => vec![[-1.0, 0.0], [1.0, 0.0]],
            k if k < 0.3 => {
                let (lift, phase) = (0.25 + at(0.1), at(3.0));
                (0..9).map(|i| i as f32 / 4.0 - 1.0).map(|x| [x, lift * (x * 4.5 + phase).sin()]).collect()
            }
            _ => vec![[0.0, 0.0], [0.12 + at(0.1), at(0.15)]],
        };
        let center = [side / 2.0 + at(side / 2.0), side / 2.0 + at(side / 2.0)];
        Thing {
            form: Form::Stroke { points, half: 0.14 + at(0.06) },
            center,
            radius: side * (0.1 + at(0.05)),
            angle: at(TAU).sin_cos(),
            stretch: 1.0,
            paint: Paint::new(colors, Pattern::Plain),
            look: Look { shadow: 0.25, ..FLAT },
        }
    }

    /// A bar or wire across the picture.
    fn occluder(&self, rng: &mut DataRng) -> Thing {
        let side = self.side as f32;
        let pattern = if rng.random_bool(0.5) { Pattern::Plain } else { self.ground };
        let half = side * rng.random_range(0.01..0.04f32);
        Thing {
            form: Form::Stroke { points: vec![[-1.0, 0.0], [1.0, 0.0]], half: half / (side * 1.1) },
            center: std::array::from_fn(|_| side * rng.random_range(0.2..0.8f32)),
            radius: side * 1.1,
            angle: rng.random_range(0.0..TAU).sin_cos(),
            stretch: 1.0,
            paint: Paint::new(self.palette.quiet(rng), pattern),
            look: Look { shadow: rng.random_range(0.2..0.5), bevel: 0.25, border: None },
        }
    }

    /// What of each object can be seen, in drawing order.
    fn objects(&self) -> Vec<Object> {
        let side = self.side as i32;
        let measure = |(i, (label, thing)): (usize, &(usize, Thing))| {
            let above: Vec<&Thing> = self.things[i + 1..].iter().map(|(_, t)| t).chain(&self.front).collect();
            let [columns, rows] = thing.extent(0.0);
            let (mut whole, mut seen, mut area) = (0.0f32, 0.0f32, 0u32);
            let (mut low, mut high) = ([u32::MAX; 2], [0u32; 2]);
            for y in rows {
                for x in columns.clone() {
                    let p = [x as f32 + 0.5, y as f32 + 0.5];
                    let own = thing.coverage(p);
                    whole += own;
                    if own <= 0.0 || !(0..side).contains(&x) || !(0..side).contains(&y) {
                        continue;
                    }
                    let left = above.iter().fold(own, |left, t| left * (1.0 - t.coverage(p)));
                    seen += left;
                    if left >= 0.5 {
                        area += 1;
                        let here = [x as u32, y as u32];
                        low = std::array::from_fn(|i| low[i].min(here[i]));
                        high = std::array::from_fn(|i| high[i].max(here[i] + 1));
                    }
                }
            }
            let bounds =
                if area == 0 { [0; 4] } else { [low[0], low[1], high[0] - low[0], high[1] - low[1]] };
            Object { label: *label, bounds, area, visible: seen / whole.max(1.0) }
        };
        self.things.iter().enumerate().map(measure).collect()
    }

    fn paint_ground(&self, rng: &mut DataRng) -> Vec<Rgb> {
        let paint = Paint::new(self.palette.ground, self.ground);
        let half = self.side as f32 / 2.0;
        let grain: u32 = rng.random();
        let (sheen, vignette) = (rng.random_range(0.0..0.3f32), rng.random_range(0.0..0.3f32));
        let tilt = turn([1.0, 0.0], rng.random_range(0.0..TAU).sin_cos());
        let at = |i: u32| {
            let p = [i % self.side, i / self.side].map(|v| (v as f32 + 0.5) / half - 1.0);
            let paper = fractal_noise([p[0] * 9.0, p[1] * 9.0], grain) - 0.5;
            let toward_light = p[0] * self.light[0] + p[1] * self.light[1];
            let light = 1.0 + sheen * toward_light * 0.6 + 0.12 * paper
                - vignette * 0.35 * (p[0] * p[0] + p[1] * p[1]);
            let color = paint.at(turn(p, (tilt[1], tilt[0])), 1.2 / half);
            color.map(|c| c * light.max(0.05))
        };
        (0..self.side * self.side).map(at).collect()
    }

    fn paint(&self, thing: &Thing, canvas: &mut [Rgb]) {
        let side = self.side as i32;
        let look = thing.look;
        let (blur, drop) = (
            thing.radius.min(self.side as f32 * 0.3) * 0.28 + 0.8,
            thing.radius.min(self.side as f32 * 0.3) * 0.16 + 0.4,
        );
        let thrown = [self.light[0] * -drop, self.light[1] * -drop];
        let [columns, rows] = thing.extent(blur + drop);
        let clip = |r: std::ops::Range<i32>| r.start.clamp(0, side)..r.end.clamp(0, side);
        let rim = (thing.radius * 0.22).clamp(1.2, 12.0);
        for y in clip(rows) {
            for x in clip(columns.clone()) {
                let p = [x as f32 + 0.5, y as f32 + 0.5];
                let pixel = &mut canvas[(y * side + x) as usize];
                if look.shadow > 0.0 {
                    let t = (0.5 - thing.distance(sub(p, thrown)) / (2.0 * blur)).clamp(0.0, 1.0);
                    let depth = look.shadow * t * t * (3.0 - 2.0 * t);
                    // A shadow is never quite black: some of the sky's light reaches it.
                    *pixel = [0, 1, 2].map(|c| pixel[c] * (1.0 - depth * [1.0, 0.97, 0.9][c]));
                }
                let distance = thing.distance(p);
                let coverage = (0.5 - distance).clamp(0.0, 1.0);
                if coverage <= 0.0 {
                    continue;
                }
                let mut color = thing.paint.at(thing.local(p), 1.2 / thing.radius);
                if let Some((width, border)) = look.border {
                    let share = (distance + width * thing.radius + 0.5).clamp(0.0, 1.0);
                    color = blend(color, border, share);
                }
                if look.bevel > 0.0 && -distance < rim {
                    let slope = [
                        thing.distance([p[0] + 0.5, p[1]]) - thing.distance([p[0] - 0.5, p[1]]),
                        thing.distance([p[0], p[1] + 0.5]) - thing.distance([p[0], p[1] - 0.5]),
                    ];
                    let facing =
                        (slope[0] * self.light[0] + slope[1] * self.light[1]) / length(slope).max(0.2);
                    let near = (1.0 + distance / rim).clamp(0.0, 1.0);
                    color = color.map(|c| shade(c, look.bevel * facing * near * near));
                }
                let toward_light =
                    (p[0] - thing.center[0]) * self.light[0] + (p[1] - thing.center[1]) * self.light[1];
                let form_light = 1.0 + 0.16 * (toward_light / thing.radius).clamp(-1.0, 1.0);
                *pixel = blend(*pixel, color.map(|c| (c * form_light).min(1.0)), coverage);
            }
        }
    }
}

/// Brighter towards white for a positive amount, darker for a negative one.
fn shade(c: f32, amount: f32) -> f32 {
    if amount >= 0.0 { c + (1.0 - c) * amount * 0.6 } else { c * (1.0 + amount) }
}

/// Lens and sensor: a slight blur, exposure, noise, eight bits.
fn develop(mut canvas: Vec<Rgb>, side: u32, rng: &mut DataRng) -> Image8 {
    let side = side as usize;
    if rng.random_bool(0.3) {
        blur(&mut canvas, side, rng.random_range(0.35..0.85));
    }
    let exposure = rng.random_range(-0.25..0.2f32).exp2();
    let noise = if rng.random_bool(0.6) { rng.random_range(0.004..0.032f32) } else { 0.0 };
    let faded = if rng.random_bool(0.12) { rng.random_range(0.6..1.0f32) } else { 0.0 };
    let mut data = Vec::with_capacity(side * side * 3);
    for pixel in canvas {
        let grey = 0.2126 * pixel[0] + 0.7152 * pixel[1] + 0.0722 * pixel[2];
        let shaken = if noise > 0.0 { grain(rng) } else { [0.0; 3] };
        for (c, shake) in blend(pixel, [grey; 3], faded).into_iter().zip(shaken) {
            let value = encode((c * exposure).min(1.0)) + noise * shake;
            data.push((value * 255.0 + 0.5).clamp(0.0, 255.0) as u8);
        }
    }
    Image8 { size: Size::new(side as u32, side as u32), channels: 3, data }
}

/// Three nearly normal numbers: each the sum of five bytes, brought to mean 0 and variance 1.
fn grain(rng: &mut DataRng) -> [f32; 3] {
    let bytes = [rng.next_u64().to_le_bytes(), rng.next_u64().to_le_bytes()].concat();
    std::array::from_fn(|i| {
        let sum: u32 = bytes[i * 5..i * 5 + 5].iter().map(|b| u32::from(*b)).sum();
        // Five uniform bytes: mean 637.5, variance 5 (256² - 1) / 12.
        (sum as f32 - 637.5) / 165.24
    })
}

/// A separable Gaussian of up to two pixels' reach, edges repeated.
fn blur(canvas: &mut [Rgb], side: usize, sigma: f32) {
    let weight = |d: i32| (-(d * d) as f32 / (2.0 * sigma * sigma)).exp();
    let total: f32 = (-2..=2).map(weight).sum();
    for along_rows in [true, false] {
        let source = canvas.to_vec();
        for (i, pixel) in canvas.iter_mut().enumerate() {
            let (x, y) = ((i % side) as i32, (i / side) as i32);
            let mut sum = [0.0; 3];
            for d in -2..=2 {
                let clamp = |v: i32| v.clamp(0, side as i32 - 1) as usize;
                let from =
                    if along_rows { clamp(y) * side + clamp(x + d) } else { clamp(y + d) * side + clamp(x) };
                sum = std::array::from_fn(|c| sum[c] + source[from][c] * weight(d) / total);
            }
            *pixel = sum;
        }
    }
}
