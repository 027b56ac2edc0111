//! Sheets of pictures: geometry for any sizes, puzzles and mosaics by what they must restore.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;
use std::time::Instant;

use opticus_pixels::codec::{ColorMode, Limits, decode_file, encode_png};
use opticus_pixels::collage::{
    Cell, CellFit, CollageError, Grid, Justified, Layout, PhotoMosaic, assemble, cut, grid, grid_layout,
    justified, justified_layout, photo_mosaic, shuffle, solve,
};
use opticus_pixels::resize::crop;
use opticus_pixels::{Image8, Size};
use proptest::collection::vec;
use proptest::prelude::*;

fn photographs() -> Vec<Image8> {
    let shared = std::env::var_os("OPTICUS_SHARED_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let folder = shared.join("fusion/kodak_clean");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("skipped: no photographs in {}; set OPTICUS_SHARED_DATA", folder.display());
        return Vec::new();
    };
    let mut files: Vec<PathBuf> =
        entries.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "png")).collect();
    files.sort();
    files.iter().map(|p| decode_file(p, &Limits::default()).unwrap().into_image8(ColorMode::Rgb)).collect()
}

fn size(most: u32) -> impl Strategy<Value = Size> {
    (1..most, 1..most).prop_map(|(width, height)| Size::new(width, height))
}

fn inside_and_apart(layout: &Layout, margin: u32) {
    let right = |c: &Cell| c.x + c.size.width;
    let bottom = |c: &Cell| c.y + c.size.height;
    for (i, a) in layout.cells.iter().enumerate() {
        assert!(a.size.area() > 0 && a.x >= margin && a.y >= margin);
        assert!(right(a) + margin <= layout.sheet.width && bottom(a) + margin <= layout.sheet.height);
        for b in &layout.cells[i + 1..] {
            assert!(
                right(a) <= b.x || right(b) <= a.x || bottom(a) <= b.y || bottom(b) <= a.y,
                "{a:?} {b:?}"
            );
        }
    }
}

/// The scaled picture's sides are the picture's times one factor, to a pixel.
fn aspect_kept(picture: Size, scaled: Size) {
    let (w, h) = (f64::from(picture.width), f64::from(picture.height));
    let (sw, sh) = (f64::from(scaled.width), f64::from(scaled.height));
    // What side the other one would have had, with half a pixel of rounding on both.
    let near = |side: f64, other: f64, ratio: f64| (side - other * ratio).abs() <= 1.01 * (1.0 + ratio);
    assert!(near(sw, sh, w / h) || near(sh, sw, h / w), "{picture:?} {scaled:?}");
}

proptest! {
    #[test]
    fn grids_keep_pictures_inside_and_apart(
        pictures in vec(size(400), 1..12),
        columns in 1u32..5,
        cell in size(60),
        (gap, margin) in (0u32..9, 0u32..9),
        cover in any::<bool>(),
    ) {
        let fit = if cover { CellFit::Cover } else { CellFit::Contain };
        let settings = Grid { columns, cell, fit, gap, margin, ..Grid::default() };
        let layout = grid_layout(&pictures, &settings).unwrap();
        let rows = (pictures.len() as u32).div_ceil(columns);
        prop_assert_eq!(layout.sheet.width, columns * cell.width + (columns - 1) * gap + 2 * margin);
        prop_assert_eq!(layout.sheet.height, rows * cell.height + (rows - 1) * gap + 2 * margin);
        inside_and_apart(&layout, margin);
        for (c, picture) in layout.cells.iter().zip(&pictures) {
            aspect_kept(*picture, c.scaled);
            if cover {
                prop_assert_eq!(c.size, cell);
                prop_assert!(c.scaled.width == cell.width || c.scaled.height == cell.height);
            } else {
                prop_assert_eq!(c.size, c.scaled);
                prop_assert!(c.size.width == cell.width || c.size.height == cell.height);
            }
        }
    }

    #[test]
    fn justified_rows_fill_the_width_at_one_height(
        pictures in vec((60u32..400, 60u32..400).prop_map(|(w, h)| Size::new(w, h)), 1..30),
        width in 300u32..900,
        row_height in 30u32..120,
        (gap, margin) in (0u32..9, 0u32..9),
    ) {
        let settings = Justified { width, row_height, gap, margin, ..Justified::default() };
        let layout = justified_layout(&pictures, &settings).unwrap();
        prop_assert_eq!(layout.sheet.width, width);
        inside_and_apart(&layout, margin);
        let rows: Vec<&[Cell]> = layout.cells.chunk_by(|a, b| a.y == b.y).collect();
        for (r, row) in rows.iter().enumerate() {
            let last = row.last().unwrap();
            prop_assert!(row.iter().all(|c| c.size.height == row[0].size.height));
            prop_assert_eq!(row[0].x, margin);
            for pair in row.windows(2) {
                prop_assert_eq!(pair[0].x + pair[0].size.width + gap, pair[1].x);
            }
            let full = last.x + last.size.width + margin == width;
            prop_assert!(full || r + 1 == rows.len() || row[0].size.height >= 3 * row_height, "row {} {:?}", r, row);
            if r + 1 == rows.len() {
                prop_assert!(row[0].size.height <= row_height);
            }
        }
        for (i, (cell, picture)) in layout.cells.iter().zip(&pictures).enumerate() {
            prop_assert_eq!(cell.picture, i);
            aspect_kept(*picture, cell.scaled);
        }
    }

    #[test]
    fn slivers_and_masts_stay_on_the_sheet(
        pictures in vec(size(5000), 1..20),
        width in 40u32..300,
        row_height in 1u32..50,
    ) {
        let settings = Justified { width, row_height, gap: 3, margin: 2, ..Justified::default() };
        inside_and_apart(&justified_layout(&pictures, &settings).unwrap(), 2);
    }

    #[test]
    fn tiles_in_order_are_the_picture(
        (columns, rows, w, h) in (1u32..6, 1u32..6, 1u32..6, 1u32..6),
        (extra_w, extra_h) in (0u32..5, 0u32..5),
        seed in any::<u64>(),
    ) {
        let size = Size::new(columns * w + extra_w % columns, rows * h + extra_h % rows);
        let data = (0..size.area() as usize * 3).map(|i| (i * 37 % 251) as u8).collect();
        let picture = Image8 { size, channels: 3, data };
        let tiles = cut(&picture, columns, rows).unwrap();
        let order: Vec<usize> = (0..tiles.len()).collect();
        let whole = Size::new(columns * w, rows * h);
        let middle = crop(&picture, (extra_w % columns / 2).into(), (extra_h % rows / 2).into(), whole);
        prop_assert_eq!(assemble(&tiles, &order, columns).unwrap(), middle);
        let mut shuffled = shuffle(tiles.len(), seed);
        shuffled.sort_unstable();
        prop_assert_eq!(shuffled, order);
    }

    /// Whatever the tiles show, each is used once.
    #[test]
    fn any_tiles_are_put_somewhere(
        (columns, rows) in (1u32..5, 1u32..5),
        levels in vec(0u8..3, 16 * 4),
    ) {
        let tiles: Vec<Image8> = levels
            .chunks(4)
            .take((columns * rows) as usize)
            .map(|data| Image8 { size: Size::new(2, 2), channels: 1, data: data.to_vec() })
            .collect();
        let mut order = solve(&tiles, columns, rows).unwrap();
        order.sort_unstable();
        prop_assert_eq!(order, (0..tiles.len()).collect::<Vec<_>>());
    }
}

fn plain(size: Size, colour: [u8; 3]) -> Image8 {
    Image8 { size, channels: 3, data: colour.repeat(size.area() as usize) }
}

fn pixel(image: &Image8, x: u32, y: u32) -> [u8; 3] {
    let at = (y * image.size.width + x) as usize * 3;
    image.data[at..at + 3].try_into().unwrap()
}

#[test]
fn a_sheet_shows_its_pictures_over_its_background() {
    let red = plain(Size::new(40, 20), [200, 0, 0]);
    let clear = Image8 { size: Size::new(1, 1), channels: 4, data: vec![0, 255, 0, 0] };
    let grey = Image8 { size: Size::new(3, 3), channels: 1, data: vec![90; 9] };
    let settings = Grid {
        columns: 2,
        cell: Size::new(20, 20),
        gap: 2,
        margin: 1,
        background: [1, 2, 3],
        ..Grid::default()
    };
    let sheet = grid(&[red.clone(), clear, grey], &settings).unwrap();
    assert_eq!(sheet.size, Size::new(44, 44));
    assert_eq!(pixel(&sheet, 11, 11), [200, 0, 0]);
    // Contained: 20x10 in the middle of its cell.
    assert_eq!(pixel(&sheet, 11, 5), [1, 2, 3]);
    assert_eq!(pixel(&sheet, 11, 6), [200, 0, 0]);
    assert_eq!(pixel(&sheet, 30, 11), [1, 2, 3]);
    assert_eq!(pixel(&sheet, 11, 30), [90; 3]);
    assert_eq!(pixel(&sheet, 30, 30), [1, 2, 3]);
    let covered = grid(&[red], &Grid { fit: CellFit::Cover, ..settings }).unwrap();
    assert_eq!(pixel(&covered, 11, 1), [200, 0, 0]);
}

/// Rows of the least cost, by trying all of them.
#[test]
fn rows_break_where_heights_deviate_least() {
    let pictures: Vec<Size> = [
        (300, 200),
        (200, 300),
        (500, 200),
        (100, 100),
        (320, 180),
        (150, 200),
        (400, 300),
        (90, 160),
        (210, 100),
    ]
    .map(|(w, h)| Size::new(w, h))
    .to_vec();
    let (width, target) = (600.0, 140.0);
    let cost = |breaks: u32| {
        let (mut sum, mut total) = (0.0, 0.0);
        for (i, p) in pictures.iter().enumerate() {
            sum += f64::from(p.width) / f64::from(p.height);
            let last = i + 1 == pictures.len();
            if last || breaks >> i & 1 == 1 {
                let ratio: f64 = width / sum / target;
                total += if last && ratio > 1.0 { 0.0 } else { ratio.ln().powi(2) };
                sum = 0.0;
            }
        }
        total
    };
    let best = (0..1 << (pictures.len() - 1)).min_by(|a, b| cost(*a).total_cmp(&cost(*b))).unwrap();
    let settings = Justified { width: 600, row_height: 140, gap: 0, margin: 0, ..Justified::default() };
    let layout = justified_layout(&pictures, &settings).unwrap();
    let found =
        layout.cells.windows(2).enumerate().filter(|(_, p)| p[0].y != p[1].y).map(|(i, _)| 1u32 << i).sum();
    assert_eq!(best, found);
}

#[test]
fn what_cannot_be_done_is_said() {
    let dot = plain(Size::new(2, 2), [0; 3]);
    assert_eq!(grid(&[], &Grid::default()), Err(CollageError::NoPictures));
    let torn = Image8 { size: Size::new(9, 9), channels: 3, data: vec![0; 5] };
    assert_eq!(grid(&[dot.clone(), torn.clone()], &Grid::default()), Err(CollageError::BadPicture(1)));
    let huge =
        Grid { cell: Size::new(u32::MAX, u32::MAX), gap: u32::MAX, margin: u32::MAX, ..Grid::default() };
    assert!(matches!(grid(std::slice::from_ref(&dot), &huge), Err(CollageError::TooLarge { .. })));
    let few = Grid { columns: 1, rows: 1, ..Grid::default() };
    assert!(matches!(
        grid(&[dot.clone(), dot.clone()], &few),
        Err(CollageError::Crowded { pictures: 2, cells: 1 })
    ));
    let thin = Justified { width: 10, margin: 5, ..Justified::default() };
    assert!(matches!(justified(std::slice::from_ref(&dot), &thin), Err(CollageError::Setting { .. })));
    let wide = Justified { width: u32::MAX, row_height: u32::MAX, ..Justified::default() };
    assert!(matches!(justified(std::slice::from_ref(&dot), &wide), Err(CollageError::TooLarge { .. })));
    assert!(matches!(cut(&dot, 3, 1), Err(CollageError::Setting { setting: "columns", .. })));
    assert!(matches!(solve(std::slice::from_ref(&dot), 2, 1), Err(CollageError::Places { got: 1, .. })));
    assert!(matches!(assemble(std::slice::from_ref(&dot), &[0, 1], 2), Err(CollageError::Places { .. })));
    let odd = plain(Size::new(1, 2), [0; 3]);
    assert!(matches!(solve(&[dot.clone(), odd], 2, 1), Err(CollageError::OddTile { index: 1, .. })));
    let rare = PhotoMosaic { columns: 4, max_uses: 1, ..PhotoMosaic::default() };
    assert!(matches!(
        photo_mosaic(&dot, std::slice::from_ref(&dot), &rare),
        Err(CollageError::Repetition { .. })
    ));
    assert!(matches!(photo_mosaic(&torn, &[dot], &rare), Err(CollageError::BadPicture(0))));
}

#[test]
fn a_shuffled_photograph_is_restored() {
    for (i, picture) in photographs().into_iter().enumerate() {
        for (columns, rows) in [(8, 6), (12, 8)] {
            let tiles = cut(&picture, columns, rows).unwrap();
            let order = shuffle(tiles.len(), 7 + i as u64);
            let shuffled: Vec<Image8> = order.iter().map(|t| tiles[*t].clone()).collect();
            assert_ne!(order, (0..tiles.len()).collect::<Vec<_>>());
            let start = Instant::now();
            let solved = solve(&shuffled, columns, rows).unwrap();
            let right = solved.iter().enumerate().filter(|(place, t)| order[**t] == *place).count();
            println!("{i}: {right} of {} right, {:.0} ms", tiles.len(), start.elapsed().as_secs_f64() * 1e3);
            let restored = assemble(&shuffled, &solved, columns).unwrap();
            let truth = assemble(&tiles, &(0..tiles.len()).collect::<Vec<_>>(), columns).unwrap();
            assert!(restored == truth, "photograph {i} cut {columns}x{rows}");
        }
    }
}

/// Pictures that are the target's own pieces go back to where they are from.
#[test]
fn a_mosaic_of_its_own_pieces_is_the_picture() {
    for picture in photographs().into_iter().take(2) {
        let tiles = cut(&picture, 24, 16).unwrap();
        let settings = PhotoMosaic {
            columns: 24,
            tile: tiles[0].size,
            max_uses: 1,
            spacing: 0,
            tint: 0.0,
            ..Default::default()
        };
        let mosaic = photo_mosaic(&picture, &tiles, &settings).unwrap();
        assert_eq!(mosaic.size, picture.size);
        let same = mosaic.data.iter().zip(&picture.data).filter(|(a, b)| a == b).count();
        assert!(same as f64 > 0.95 * mosaic.data.len() as f64, "{same} of {}", mosaic.data.len());
    }
}

#[test]
fn mosaics_keep_their_limits_and_follow_the_target() {
    // Twelve greys; a target that is a ramp.
    let greys: Vec<Image8> = (0..12u8).map(|i| plain(Size::new(5, 5), [i * 23; 3])).collect();
    let ramp = Image8 { size: Size::new(12, 4), channels: 1, data: (0..48).map(|i| (i % 12) * 23).collect() };
    let settings = PhotoMosaic {
        columns: 12,
        tile: Size::new(5, 5),
        max_uses: 4,
        spacing: 0,
        tint: 0.0,
        ..PhotoMosaic::default()
    };
    let mosaic = photo_mosaic(&ramp, &greys, &settings).unwrap();
    assert_eq!(mosaic.size, Size::new(60, 20));
    let shown = |x: u32, y: u32| pixel(&mosaic, x * 5, y * 5)[0] / 23;
    let mut uses = [0; 12];
    for y in 0..4 {
        for x in 0..12 {
            uses[usize::from(shown(x, y))] += 1;
        }
    }
    assert_eq!(uses, [4; 12]);
    let apart = photo_mosaic(&ramp, &greys, &PhotoMosaic { max_uses: 0, spacing: 1, ..settings }).unwrap();
    for y in 0..4 {
        for x in 0..11 {
            assert_ne!(pixel(&apart, x * 5, y * 5), pixel(&apart, x * 5 + 5, y * 5));
            assert!(y == 3 || pixel(&apart, x * 5, y * 5) != pixel(&apart, x * 5, y * 5 + 5));
        }
    }
    // Fully tinted, every cell has the target's colour.
    let tinted =
        photo_mosaic(&ramp, &greys[5..6], &PhotoMosaic { max_uses: 0, tint: 1.0, ..settings }).unwrap();
    for x in 0..12 {
        assert_eq!(u32::from(pixel(&tinted, x * 5 + 2, 7)[0]), x * 23);
    }
}

#[test]
#[ignore = "writes sheets to OPTICUS_COLLAGE_OUT"]
fn sheets_to_look_at() {
    let Some(folder) = std::env::var_os("OPTICUS_COLLAGE_OUT").map(PathBuf::from) else { return };
    let pictures = photographs();
    let write =
        |name: &str, sheet: &Image8| std::fs::write(folder.join(name), encode_png(sheet).unwrap()).unwrap();
    let small = Grid { cell: Size::new(200, 160), ..Grid::default() };
    let timed = |name: &str, make: &dyn Fn() -> Image8| {
        let start = Instant::now();
        let sheet = make();
        println!("{name}: {:?} {:.0} ms", sheet.size, start.elapsed().as_secs_f64() * 1e3);
        write(name, &sheet);
    };
    timed("grid.png", &|| grid(&pictures, &small).unwrap());
    timed("cover.png", &|| grid(&pictures, &Grid { fit: CellFit::Cover, ..small }).unwrap());
    let rows = Justified { width: 1000, row_height: 180, ..Justified::default() };
    timed("justified.png", &|| justified(&pictures, &rows).unwrap());
    let pieces: Vec<Image8> = pictures.iter().flat_map(|p| cut(p, 12, 8).unwrap()).collect();
    let mosaic = PhotoMosaic { columns: 64, tile: Size::new(24, 16), ..PhotoMosaic::default() };
    timed("mosaic.png", &|| photo_mosaic(&pictures[3], &pieces, &mosaic).unwrap());
}
