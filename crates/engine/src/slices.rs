//! The instances of a series in the order of their slices (Orthanc: `/series/{id}/ordered-slices`).

use crate::{Ctx, Engine};
use dataset::Tag;
use model::{Error, ErrorKind, Fields, FindRequest, Level, OrthancId, Resource, Result, TagMap};

const NUMBER_OF_FRAMES: Tag = Tag(0x0028, 0x0008);
const POSITION: Tag = Tag(0x0020, 0x0032);
const ORIENTATION: Tag = Tag(0x0020, 0x0037);

/// Orthanc compares with ten times the epsilon of its 32-bit numbers.
const CLOSE: f64 = 10.0 * f32::EPSILON as f64;

/// What the instances of a series are together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Slices at different positions along one direction.
    Volume,
    Sequence,
}

/// One instance in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    pub instance: OrthancId,
    pub frames: u32,
}

/// What is known of one instance.
#[derive(Clone, Debug)]
struct Known {
    slice: Slice,
    position: Option<[f64; 3]>,
    /// Of its own orientation.
    normal: Option<[f64; 3]>,
    index: Option<i64>,
}

impl Known {
    fn of(instance: &Resource) -> Self {
        let tags = &instance.tags[Level::Instance as usize];
        let frames = tags.get(NUMBER_OF_FRAMES).and_then(|text| text.trim().parse().ok());
        Self {
            slice: Slice { instance: instance.id, frames: frames.unwrap_or(1) },
            position: numbers(tags, POSITION),
            normal: normal(tags),
            index: instance.index_in_series,
        }
    }
}

/// Orders the instances of a series: by their positions along the normal of its plane (PS3.3 C.7.6.2.1.1) if they are parallel and
/// apart, else by `IndexInSeries`.
///
/// # Errors
/// `UnknownResource`; `CannotOrderSlices` if neither is possible.
pub async fn ordered(eng: &Engine, _ctx: &Ctx, series: OrthancId) -> Result<(Kind, Vec<Slice>)> {
    let fields = Fields { parent_tags: true, ..Fields::NONE };
    let request = FindRequest { related_to: vec![(Level::Series, series)], fields, ..FindRequest::all(Level::Instance) };
    let instances = eng.index.find(&request).await?;
    let Some(first) = instances.first() else { return Err(ErrorKind::UnknownResource.into()) };
    let normal = normal(&first.tags[Level::Series as usize]);
    order(normal, instances.iter().map(Known::of).collect()).ok_or_else(|| {
        Error::new(ErrorKind::CannotOrderSlices, format!("the instances of series {series} have neither positions nor indexes"))
    })
}

fn order(normal: Option<[f64; 3]>, mut instances: Vec<Known>) -> Option<(Kind, Vec<Slice>)> {
    let slices = |all: Vec<Known>| all.into_iter().map(|known| known.slice).collect();
    if instances.len() < 2 {
        return Some((Kind::Sequence, slices(instances)));
    }
    if let Some(places) = normal.and_then(|normal| places(normal, &instances)) {
        let mut placed: Vec<_> = places.into_iter().zip(&instances).collect();
        placed.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        if placed.windows(2).all(|pair| pair[1].0 - pair[0].0 > CLOSE) {
            return Some((Kind::Volume, placed.into_iter().map(|(_, known)| known.slice).collect()));
        }
    }
    if instances.iter().any(|known| known.index.is_none()) {
        return None;
    }
    instances.sort_by_key(|known| known.index);
    Some((Kind::Sequence, slices(instances)))
}

/// Where each instance lies along the normal. None unless all have a position, and no orientation of their own is another one.
fn places(normal: [f64; 3], instances: &[Known]) -> Option<Vec<f64>> {
    let place = |known: &Known| {
        let parallel = known.normal.is_none_or(|own| is_parallel(own, normal));
        known.position.filter(|_| parallel).map(|position| dot(position, normal))
    };
    instances.iter().map(place).collect()
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn is_parallel(a: [f64; 3], b: [f64; 3]) -> bool {
    let lengths = dot(a, a).sqrt() * dot(b, b).sqrt();
    lengths >= CLOSE && (dot(a, b).abs() / lengths - 1.0).abs() < CLOSE
}

/// The normal of the plane that `ImageOrientationPatient` spans.
fn normal(tags: &TagMap) -> Option<[f64; 3]> {
    let [a, b, c, d, e, f] = numbers::<6>(tags, ORIENTATION)?;
    Some([b * f - c * e, c * d - a * f, a * e - b * d])
}

/// The values of a tag if there are exactly so many and all are finite numbers.
fn numbers<const N: usize>(tags: &TagMap, tag: Tag) -> Option<[f64; N]> {
    let parsed: Option<Vec<f64>> = tags.get(tag)?.split('\\').map(|text| text.trim().parse().ok()).collect();
    let numbers: [f64; N] = parsed?.try_into().ok()?;
    numbers.iter().all(|n| n.is_finite()).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(n: u8, position: Option<[f64; 3]>, index: Option<i64>) -> Known {
        Known { slice: Slice { instance: OrthancId([n; 20]), frames: 1 }, position, normal: None, index }
    }

    fn check(normal: Option<[f64; 3]>, instances: &[Known], expected: Option<(Kind, &[u8])>) {
        let found = order(normal, instances.to_vec()).map(|(kind, all)| (kind, all.iter().map(|s| s.instance.0[0]).collect()));
        assert_eq!(found, expected.map(|(kind, ids)| (kind, ids.to_vec())));
    }

    #[test]
    fn by_position_else_by_index() {
        let z = Some([0.0, 0.0, 1.0]);
        let at = |n, z: f64, index| known(n, Some([n.into(), 0.0, z]), index);
        check(z, &[at(1, 9.0, Some(1)), at(2, -3.5, Some(2))], Some((Kind::Volume, &[2, 1])));
        check(z, &[at(1, 1.0, Some(2)), at(2, 1.0, Some(1))], Some((Kind::Sequence, &[2, 1])));
        check(z, &[at(1, 1.0, Some(2)), known(2, None, Some(1))], Some((Kind::Sequence, &[2, 1])));
        check(None, &[at(1, 1.0, None), at(2, 2.0, Some(1))], None);
        check(None, &[known(1, None, None)], Some((Kind::Sequence, &[1])));
        let turned = Known { normal: Some([1.0, 0.0, 0.0]), ..at(2, 2.0, Some(1)) };
        check(z, &[at(1, 1.0, Some(2)), turned], Some((Kind::Sequence, &[2, 1])));
    }

    #[test]
    fn normals() {
        let tags = |text: &str| [(ORIENTATION, text.to_owned())].into_iter().collect::<TagMap>();
        assert_eq!(normal(&tags("1\\0\\0\\0\\1\\0")), Some([0.0, 0.0, 1.0]));
        assert_eq!(normal(&tags("1\\0\\0\\0\\1")), None);
        assert_eq!(normal(&tags("1\\0\\0\\0\\nan\\0")), None);
        assert!(is_parallel([0.0, 0.0, 1.0], [0.0, 0.0, -2.0]) && !is_parallel([0.0, 0.0, 1.0], [0.0, 1.0, 0.0]));
        assert!(!is_parallel([0.0; 3], [0.0; 3]));
    }
}
