//! What values this crate sends and reads, and whether a runtime's type takes them.
use scale_info::{PortableRegistry, Type, TypeDef, TypeDefPrimitive, form::PortableForm};
use std::fmt;

/// A value's form, without the names of its types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// True or false.
    Bool,
    /// A number of so many bits, without sign.
    Uint(u16),
    /// 32 bytes: an account, a hash.
    Hash,
    /// Any number of bytes.
    Bytes,
    /// A list of like values.
    List(&'static Shape),
    /// Values in a row.
    Tuple(&'static [Shape]),
    /// A value, or none.
    Perhaps(&'static Shape),
    /// Values by name.
    Record(&'static [(&'static str, Shape)]),
    /// One of several forms; these must be among them.
    Variants(&'static [&'static str]),
    /// Not looked at.
    Any,
}

/// Whether a type takes a shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fit {
    /// As it was when this version was made.
    Same,
    /// Otherwise, but values go in or come out all the same.
    Compatible,
    /// Not at all; why not.
    Wrong(String),
}

impl Fit {
    /// The worse of two.
    pub(super) fn and(self, other: Self) -> Self {
        let rank = |fit: &Self| match fit {
            Self::Same => 0,
            Self::Compatible => 1,
            Self::Wrong(_) => 2,
        };
        if rank(&self) < rank(&other) { other } else { self }
    }
}

/// Which way values go: fields that aren't named can be passed over in what is read, and are missed in what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Sent,
    Read,
}

/// Types of Substrate's own around one value, which always were there.
const WRAPPERS: [&str; 6] = ["AccountId32", "H256", "BoundedVec", "WeakBoundedVec", "BoundedBTreeSet", "BTreeSet"];

/// How far into types is looked, so that none that contains itself holds a look up forever.
const DEPTH: u8 = 24;

/// Whether the type takes the shape.
pub(super) fn fit(types: &PortableRegistry, id: u32, shape: Shape, way: Way) -> Fit {
    at_depth(types, id, shape, way, DEPTH)
}

fn at_depth(types: &PortableRegistry, id: u32, shape: Shape, way: Way, depth: u8) -> Fit {
    let wrong = || Fit::Wrong(format!("expected {shape}, found {}", show(types, id)));
    let (Some(ty), Some(depth)) = (types.resolve(id), depth.checked_sub(1)) else { return wrong() };
    let inner = |id: u32, shape: Shape| at_depth(types, id, shape, way, depth);
    match (shape, &ty.type_def) {
        (Shape::Any, _) => Fit::Same,
        (Shape::Record(fields), TypeDef::Composite(composite))
            if composite.fields.iter().all(|field| field.name.is_some()) =>
        {
            let live = composite.fields.iter().map(|field| (field.name.as_deref().unwrap_or_default(), field.ty.id));
            record(types, &live.collect::<Vec<_>>(), fields, way, depth)
        }
        (Shape::Bool, TypeDef::Primitive(TypeDefPrimitive::Bool)) => Fit::Same,
        (Shape::Uint(bits), TypeDef::Primitive(primitive)) => match width(primitive) {
            Some(live) if live == bits => Fit::Same,
            Some(_) => Fit::Compatible,
            None => wrong(),
        },
        (Shape::Hash, TypeDef::Array(array)) if array.len == 32 && is_byte(types, array.type_param.id) => Fit::Same,
        (Shape::Bytes, TypeDef::Sequence(list)) if is_byte(types, list.type_param.id) => Fit::Same,
        (Shape::List(shape), TypeDef::Sequence(list)) => inner(list.type_param.id, *shape),
        (Shape::Tuple(shapes), TypeDef::Tuple(tuple)) if shapes.len() == tuple.fields.len() => {
            shapes.iter().zip(&tuple.fields).fold(Fit::Same, |fit, (shape, field)| fit.and(inner(field.id, *shape)))
        }
        (Shape::Perhaps(shape), TypeDef::Variant(option)) if ident(ty) == "Option" => {
            let some = option.variants.iter().find(|variant| variant.name == "Some");
            some.and_then(|some| some.fields.first()).map_or_else(wrong, |field| inner(field.ty.id, *shape))
        }
        (Shape::Variants(names), TypeDef::Variant(live)) => {
            match names.iter().find(|name| live.variants.iter().all(|variant| variant.name != **name)) {
                None => Fit::Same,
                Some(name) => Fit::Wrong(format!("{} has no variant {name}", ident(ty))),
            }
        }
        // A newtype, or a number in its short form: the value goes through.
        (_, TypeDef::Compact(compact)) => inner(compact.type_param.id, shape),
        (_, TypeDef::Composite(composite)) => match composite.fields.as_slice() {
            [field] if WRAPPERS.contains(&ident(ty)) => inner(field.ty.id, shape),
            [field] => Fit::Compatible.and(inner(field.ty.id, shape)),
            _ => wrong(),
        },
        _ => wrong(),
    }
}

/// Whether fields by name take values by name.
pub(super) fn record(
    types: &PortableRegistry,
    live: &[(&str, u32)],
    ours: &[(&str, Shape)],
    way: Way,
    depth: u8,
) -> Fit {
    let mut fit = Fit::Same;
    let order: Vec<&str> = live.iter().map(|(name, _)| *name).filter(|name| named(ours, name)).collect();
    if !order.iter().copied().eq(ours.iter().map(|(name, _)| *name)) {
        fit = Fit::Compatible;
    }
    for (name, shape) in ours {
        fit = fit.and(match live.iter().find(|(live, _)| live == name) {
            Some((_, id)) => match at_depth(types, *id, *shape, way, depth) {
                Fit::Wrong(reason) => Fit::Wrong(format!("{name}: {reason}")),
                fit => fit,
            },
            None => Fit::Wrong(format!("it has no {name}")),
        });
    }
    if way == Way::Sent
        && let Some((name, id)) = live.iter().find(|(name, _)| !named(ours, name))
    {
        fit = fit.and(Fit::Wrong(format!("it asks for {name}: {}, which this version doesn't give", show(types, *id))));
    }
    fit
}

/// Whether a call or method that takes these arguments by name can be given ours.
pub(super) fn arguments(types: &PortableRegistry, live: &[(&str, u32)], ours: &[(&str, Shape)]) -> Fit {
    record(types, live, ours, Way::Sent, DEPTH)
}

fn named(fields: &[(&str, Shape)], name: &str) -> bool {
    fields.iter().any(|(known, _)| *known == name)
}

fn width(primitive: &TypeDefPrimitive) -> Option<u16> {
    Some(match primitive {
        TypeDefPrimitive::U8 => 8,
        TypeDefPrimitive::U16 => 16,
        TypeDefPrimitive::U32 => 32,
        TypeDefPrimitive::U64 => 64,
        TypeDefPrimitive::U128 => 128,
        _ => return None,
    })
}

fn is_byte(types: &PortableRegistry, id: u32) -> bool {
    types.resolve(id).is_some_and(|ty| matches!(ty.type_def, TypeDef::Primitive(TypeDefPrimitive::U8)))
}

/// Whether every value of the type is no bytes at all.
pub(super) fn is_empty(types: &PortableRegistry, id: u32) -> bool {
    is_empty_at(types, id, DEPTH)
}

fn is_empty_at(types: &PortableRegistry, id: u32, depth: u8) -> bool {
    let (Some(ty), Some(depth)) = (types.resolve(id), depth.checked_sub(1)) else { return false };
    match &ty.type_def {
        TypeDef::Composite(composite) => composite.fields.iter().all(|field| is_empty_at(types, field.ty.id, depth)),
        TypeDef::Tuple(tuple) => tuple.fields.iter().all(|field| is_empty_at(types, field.id, depth)),
        TypeDef::Array(array) => array.len == 0 || is_empty_at(types, array.type_param.id, depth),
        _ => false,
    }
}

/// A type's own name, without its path.
fn ident(ty: &Type<PortableForm>) -> &str {
    ty.path.segments.last().map_or("", String::as_str)
}

/// A type for people: its name, and what a newtype holds.
pub(super) fn show(types: &PortableRegistry, id: u32) -> String {
    show_at(types, id, 4)
}

fn show_at(types: &PortableRegistry, id: u32, depth: u8) -> String {
    let (Some(ty), Some(depth)) = (types.resolve(id), depth.checked_sub(1)) else { return "..".to_owned() };
    let inner = |id: u32| show_at(types, id, depth);
    match &ty.type_def {
        TypeDef::Primitive(primitive) => format!("{primitive:?}").to_lowercase(),
        TypeDef::Compact(compact) => inner(compact.type_param.id),
        TypeDef::Sequence(list) => format!("Vec<{}>", inner(list.type_param.id)),
        TypeDef::Array(array) => format!("[{}; {}]", inner(array.type_param.id), array.len),
        TypeDef::Tuple(tuple) => {
            format!("({})", tuple.fields.iter().map(|field| inner(field.id)).collect::<Vec<_>>().join(", "))
        }
        TypeDef::Variant(option) if ident(ty) == "Option" => {
            let some = option.variants.iter().find_map(|variant| variant.fields.first());
            format!("Option<{}>", some.map_or_else(String::new, |field| inner(field.ty.id)))
        }
        TypeDef::Composite(composite) => match composite.fields.as_slice() {
            [field] if !WRAPPERS.contains(&ident(ty)) => format!("{}({})", ident(ty), inner(field.ty.id)),
            _ => ident(ty).to_owned(),
        },
        _ => ident(ty).to_owned(),
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Uint(bits) => write!(f, "u{bits}"),
            Self::Hash => f.write_str("[u8; 32]"),
            Self::Bytes => f.write_str("Vec<u8>"),
            Self::List(shape) => write!(f, "Vec<{shape}>"),
            Self::Tuple(shapes) => {
                f.write_str("(")?;
                for (index, shape) in shapes.iter().enumerate() {
                    write!(f, "{}{shape}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
            Self::Perhaps(shape) => write!(f, "Option<{shape}>"),
            Self::Record(_) => f.write_str("a record"),
            Self::Variants(_) => f.write_str("an enumeration"),
            Self::Any => f.write_str("anything"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scale_info::{MetaType, Registry, TypeInfo};

    #[derive(TypeInfo)]
    #[allow(dead_code)]
    struct NetUid(u16);

    #[derive(TypeInfo)]
    #[allow(dead_code)]
    struct Info {
        port: u32,
        block: u64,
        more: bool,
    }

    #[derive(TypeInfo)]
    #[allow(dead_code)]
    enum Data {
        None,
        Raw0([u8; 0]),
    }

    fn of<T: TypeInfo + 'static>(shape: Shape, way: Way) -> Fit {
        let mut registry = Registry::new();
        let id = registry.register_type(&MetaType::new::<T>()).id;
        fit(&registry.into(), id, shape, way)
    }

    #[test]
    fn a_number_fits_bare_wrapped_wider_and_in_its_short_form() {
        const SIXTEEN: Shape = Shape::Uint(16);
        assert_eq!(of::<u16>(SIXTEEN, Way::Sent), Fit::Same);
        assert_eq!(of::<codec::Compact<u16>>(SIXTEEN, Way::Sent), Fit::Same);
        assert_eq!(of::<NetUid>(SIXTEEN, Way::Sent), Fit::Compatible);
        assert_eq!(of::<u64>(SIXTEEN, Way::Read), Fit::Compatible);
        assert_eq!(of::<Vec<NetUid>>(Shape::List(&SIXTEEN), Way::Read), Fit::Compatible);
        assert_eq!(of::<i16>(SIXTEEN, Way::Sent), Fit::Wrong("expected u16, found i16".into()));
        assert_eq!(of::<Info>(SIXTEEN, Way::Sent), Fit::Wrong("expected u16, found Info".into()));
        assert!(matches!(of::<Option<u16>>(SIXTEEN, Way::Sent), Fit::Wrong(_)));
    }

    #[test]
    fn a_field_more_is_passed_over_when_read_and_missed_when_sent() {
        const OURS: Shape = Shape::Record(&[("port", Shape::Uint(32)), ("block", Shape::Uint(64))]);
        assert_eq!(of::<Info>(OURS, Way::Read), Fit::Same);
        let Fit::Wrong(reason) = of::<Info>(OURS, Way::Sent) else { panic!() };
        assert_eq!(reason, "it asks for more: bool, which this version doesn't give");
        const TURNED: Shape = Shape::Record(&[("block", Shape::Uint(64)), ("port", Shape::Uint(32))]);
        assert_eq!(of::<Info>(TURNED, Way::Read), Fit::Compatible);
        const GONE: Shape = Shape::Record(&[("ip", Shape::Uint(64))]);
        assert_eq!(of::<Info>(GONE, Way::Read), Fit::Wrong("it has no ip".into()));
    }

    #[test]
    fn bytes_hashes_options_and_variants_are_told_apart() {
        assert_eq!(of::<[u8; 32]>(Shape::Hash, Way::Sent), Fit::Same);
        assert!(matches!(of::<[u8; 31]>(Shape::Hash, Way::Sent), Fit::Wrong(_)));
        assert_eq!(of::<Vec<u8>>(Shape::Bytes, Way::Sent), Fit::Same);
        assert!(matches!(of::<Vec<u16>>(Shape::Bytes, Way::Sent), Fit::Wrong(_)));
        assert_eq!(of::<Option<u8>>(Shape::Perhaps(&Shape::Uint(8)), Way::Read), Fit::Same);
        assert_eq!(of::<Data>(Shape::Variants(&["Raw0"]), Way::Sent), Fit::Same);
        assert_eq!(of::<Data>(Shape::Variants(&["Raw1"]), Way::Sent), Fit::Wrong("Data has no variant Raw1".into()));
        assert_eq!(of::<(u8, u16)>(Shape::Tuple(&[Shape::Uint(8), Shape::Uint(16)]), Way::Read), Fit::Same);
        assert!(matches!(of::<(u8,)>(Shape::Tuple(&[Shape::Uint(8), Shape::Uint(16)]), Way::Read), Fit::Wrong(_)));
    }
}
