//! A curve drawn with block characters.

/// The picture's size in characters and the values at its lower and upper edge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The lines of the picture, from the top. Each column is the mean of the values that fall into it.
pub(crate) fn lines(values: &[f64], frame: Frame) -> Vec<String> {
    let columns = columns(values, frame.width);
    let levels: Vec<usize> = columns.iter().map(|value| level(*value, &frame)).collect();
    (0..frame.height)
        .rev()
        .map(|row| {
            let filled = levels.iter().map(|level| level.saturating_sub(row * 8).min(8));
            filled.filter_map(|eighths| EIGHTHS.get(eighths)).collect()
        })
        .collect()
}

/// The height of a value in eighths of a character; at least one, so that the lowest value is still seen.
fn level(value: f64, frame: &Frame) -> usize {
    let top = u32::try_from(frame.height * 8).unwrap_or(u32::MAX);
    let span = (frame.high - frame.low).max(f64::MIN_POSITIVE);
    let part = ((value - frame.low) / span).clamp(0.0, 1.0);
    (1..=top).rev().find(|eighths| f64::from(*eighths) <= part * f64::from(top)).unwrap_or(1) as usize
}

fn columns(values: &[f64], width: usize) -> Vec<f64> {
    if values.len() <= width {
        return values.to_vec();
    }
    (0..width)
        .filter_map(|column| {
            let (from, to) = (column * values.len() / width, (column + 1) * values.len() / width);
            let slice = values.get(from..to)?;
            let count = u32::try_from(slice.len()).ok()?;
            Some(slice.iter().sum::<f64>() / f64::from(count))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_falling_line_falls_from_the_top_left_to_the_bottom_right() {
        let values: Vec<f64> = (0..16).map(|i| f64::from(16 - i)).collect();
        let picture = lines(&values, Frame { width: 16, height: 2, low: 0.0, high: 16.0 });
        assert_eq!(picture, ["█▇▆▅▄▃▂▁        ", "█████████▇▆▅▄▃▂▁"]);
    }

    #[test]
    fn long_curves_are_averaged_into_the_width() {
        assert_eq!(columns(&[1.0, 3.0, 5.0, 7.0], 2), [2.0, 6.0]);
        assert!(columns(&[], 2).is_empty());
    }
}
