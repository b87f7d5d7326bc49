//! From one runtime's SCALE to another's: the same value, by the names of its fields and variants.
//!
//! Numbers keep their value in another width or wrapper, a field that only the target has gets zeros, one that only the
//! source has is left out. What can't be said in the target is an error.

use codec::{Compact, Decode, Encode};
use scale_info::form::PortableForm;
use scale_info::{Field, PortableRegistry, TypeDef, TypeDefPrimitive, Variant};

/// Types within types that are followed.
const MAX_DEPTH: u32 = 48;

/// Why a value has no other form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TranscodeError {
    /// The bytes aren't of the source's type.
    #[error("{0}")]
    Source(String),
    /// The target has no such variant.
    #[error("no variant {0}")]
    Variant(String),
    /// The target is of another shape.
    #[error("types differ: {from} and {to}")]
    Shape {
        /// The source.
        from: String,
        /// The target.
        to: String,
    },
    /// A number too large for the target.
    #[error("{0} is too large")]
    Number(u128),
    /// A type that isn't there, or that contains itself.
    #[error("type {0} is not in the metadata, or too deep")]
    Type(u32),
}

type Result<T> = std::result::Result<T, TranscodeError>;
type Fields<'a> = &'a [Field<PortableForm>];

fn source(error: codec::Error) -> TranscodeError {
    TranscodeError::Source(error.to_string())
}

/// A type of a runtime.
#[derive(Debug, Clone, Copy)]
pub(super) struct Typed<'a> {
    types: &'a PortableRegistry,
    id: u32,
}

impl<'a> Typed<'a> {
    pub(super) fn new(types: &'a PortableRegistry, id: u32) -> Self {
        Self { types, id }
    }

    fn with(self, id: u32) -> Self {
        Self { id, ..self }
    }

    fn def(self) -> Result<&'a TypeDef<PortableForm>> {
        self.types.resolve(self.id).map(|ty| &ty.type_def).ok_or(TranscodeError::Type(self.id))
    }

    /// The type that is left when wrappers of one field are taken off.
    fn peeled(self) -> Result<Self> {
        let mut inner = self;
        for _ in 0..MAX_DEPTH {
            inner = match inner.def()? {
                TypeDef::Composite(composite) => match composite.fields.as_slice() {
                    [field] => inner.with(field.ty.id),
                    _ => return Ok(inner),
                },
                TypeDef::Tuple(tuple) => match tuple.fields.as_slice() {
                    [field] => inner.with(field.id),
                    _ => return Ok(inner),
                },
                _ => return Ok(inner),
            };
        }
        Err(TranscodeError::Type(self.id))
    }

    /// The primitive under a compact number.
    fn compact(self, inner: u32) -> Result<TypeDefPrimitive> {
        match self.with(inner).peeled()?.def()? {
            TypeDef::Primitive(primitive) => Ok(primitive.clone()),
            // A compact of nothing takes no bytes; nothing here has one.
            _ => Err(TranscodeError::Type(inner)),
        }
    }

    fn is_byte(self) -> bool {
        matches!(self.peeled().and_then(Typed::def), Ok(TypeDef::Primitive(TypeDefPrimitive::U8)))
    }

    fn name(self) -> String {
        let Some(ty) = self.types.resolve(self.id) else { return format!("type {}", self.id) };
        ty.path.segments.last().cloned().unwrap_or_else(|| format!("{:?}", ty.type_def))
    }
}

/// Reads a value of type `from` off `input` and appends it to `out` as one of type `to`.
pub(super) fn transcode(input: &mut &[u8], from: Typed<'_>, to: Typed<'_>, out: &mut Vec<u8>) -> Result<()> {
    Transcoder { input, depth: 0 }.value(from, to, out)
}

/// Whether every value of the first type has the same bytes as one of the second, and means the same.
pub(super) fn is_same(from: Typed<'_>, to: Typed<'_>) -> bool {
    same(from, to, 0)
}

fn same(from: Typed<'_>, to: Typed<'_>, depth: u32) -> bool {
    let peeled = |ty: Typed<'_>| ty.peeled().ok().and_then(|ty| Some((ty.id, ty.def().ok()?.clone())));
    if depth > MAX_DEPTH {
        return false;
    }
    let (Some((from_id, from_def)), Some((to_id, to_def))) = (peeled(from), peeled(to)) else { return false };
    let (from, to) = (from.with(from_id), to.with(to_id));
    let inner = |a: u32, b: u32| same(from.with(a), to.with(b), depth + 1);
    let fields = |a: Fields<'_>, b: Fields<'_>| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.name == b.name && inner(a.ty.id, b.ty.id))
    };
    match (&from_def, &to_def) {
        (TypeDef::Primitive(a), TypeDef::Primitive(b)) => a == b,
        (TypeDef::Compact(a), TypeDef::Compact(b)) => {
            from.compact(a.type_param.id).ok() == to.compact(b.type_param.id).ok()
        }
        (TypeDef::Sequence(a), TypeDef::Sequence(b)) => inner(a.type_param.id, b.type_param.id),
        (TypeDef::Array(a), TypeDef::Array(b)) => a.len == b.len && inner(a.type_param.id, b.type_param.id),
        (TypeDef::Tuple(a), TypeDef::Tuple(b)) => {
            a.fields.len() == b.fields.len() && a.fields.iter().zip(&b.fields).all(|(a, b)| inner(a.id, b.id))
        }
        (TypeDef::Composite(a), TypeDef::Composite(b)) => fields(&a.fields, &b.fields),
        // Variants that the first doesn't have don't matter.
        (TypeDef::Variant(a), TypeDef::Variant(b)) => a.variants.iter().all(|ours| {
            let theirs = b.variants.iter().find(|theirs| theirs.index == ours.index);
            theirs.is_some_and(|theirs| theirs.name == ours.name && fields(&ours.fields, &theirs.fields))
        }),
        _ => false,
    }
}

struct Transcoder<'a, 'b> {
    input: &'a mut &'b [u8],
    depth: u32,
}

impl Transcoder<'_, '_> {
    fn value(&mut self, from: Typed<'_>, to: Typed<'_>, out: &mut Vec<u8>) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(TranscodeError::Type(from.id));
        }
        let result = self.shape(from, to, out);
        self.depth -= 1;
        result
    }

    fn shape(&mut self, from: Typed<'_>, to: Typed<'_>, out: &mut Vec<u8>) -> Result<()> {
        if let (TypeDef::Composite(a), TypeDef::Composite(b)) = (from.def()?, to.def()?)
            && (a.fields.len() != 1 || b.fields.len() != 1)
            && a.fields.iter().chain(&b.fields).all(|field| field.name.is_some())
        {
            return self.fields((from, &a.fields), (to, &b.fields), out);
        }
        let (from, to) = (from.peeled()?, to.peeled()?);
        let differ = || TranscodeError::Shape { from: from.name(), to: to.name() };
        match (from.def()?, to.def()?) {
            (TypeDef::Primitive(TypeDefPrimitive::Bool), TypeDef::Primitive(TypeDefPrimitive::Bool)) => {
                bool::decode(self.input).map_err(source)?.encode_to(out);
                Ok(())
            }
            (TypeDef::Primitive(TypeDefPrimitive::Str), TypeDef::Primitive(TypeDefPrimitive::Str)) => {
                String::decode(self.input).map_err(source)?.encode_to(out);
                Ok(())
            }
            (TypeDef::Primitive(_) | TypeDef::Compact(_), TypeDef::Primitive(_) | TypeDef::Compact(_)) => {
                let number = read_number(self.input, from)?;
                write_number(number, to, out)
            }
            (TypeDef::Sequence(a), TypeDef::Sequence(b)) => {
                let length = self.length()?;
                Compact(length).encode_to(out);
                self.elements(length, from.with(a.type_param.id), to.with(b.type_param.id), out)
            }
            (TypeDef::Array(a), TypeDef::Array(b)) if a.len == b.len => {
                self.elements(a.len, from.with(a.type_param.id), to.with(b.type_param.id), out)
            }
            (TypeDef::Tuple(a), TypeDef::Tuple(b)) if a.fields.len() == b.fields.len() => {
                let mut pairs = a.fields.iter().zip(&b.fields);
                pairs.try_for_each(|(a, b)| self.value(from.with(a.id), to.with(b.id), out))
            }
            (TypeDef::Composite(a), TypeDef::Composite(b)) => self.fields((from, &a.fields), (to, &b.fields), out),
            (TypeDef::Variant(a), TypeDef::Variant(b)) => {
                let ours = self.variant(&a.variants)?;
                let theirs = b.variants.iter().find(|theirs| theirs.name == ours.name);
                let theirs = theirs.ok_or_else(|| TranscodeError::Variant(ours.name.clone()))?;
                out.push(theirs.index);
                self.fields((from, &ours.fields), (to, &theirs.fields), out)
            }
            _ => Err(differ()),
        }
    }

    fn length(&mut self) -> Result<u32> {
        let length = Compact::<u32>::decode(self.input).map_err(source)?.0;
        // Every element takes a byte at least: a longer list can't be there, and one of nothings isn't worth a loop.
        if usize::try_from(length).is_ok_and(|length| length <= self.input.len()) {
            Ok(length)
        } else {
            Err(TranscodeError::Source(format!("{length} elements in {} bytes", self.input.len())))
        }
    }

    fn elements(&mut self, length: u32, from: Typed<'_>, to: Typed<'_>, out: &mut Vec<u8>) -> Result<()> {
        if from.is_byte() && to.is_byte() {
            out.extend(self.take(length)?);
            return Ok(());
        }
        (0..length).try_for_each(|_| self.value(from, to, out))
    }

    fn take(&mut self, bytes: u32) -> Result<Vec<u8>> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let (taken, rest) = self
            .input
            .split_at_checked(bytes)
            .ok_or_else(|| TranscodeError::Source(format!("{bytes} bytes wanted, {} left", self.input.len())))?;
        *self.input = rest;
        Ok(taken.to_vec())
    }

    fn variant<'t>(&mut self, variants: &'t [Variant<PortableForm>]) -> Result<&'t Variant<PortableForm>> {
        let index = u8::decode(self.input).map_err(source)?;
        let variant = variants.iter().find(|variant| variant.index == index);
        variant.ok_or_else(|| TranscodeError::Source(format!("no variant has index {index}")))
    }

    /// Fields by name, where they have names; else in order.
    fn fields(
        &mut self,
        (from, ours): (Typed<'_>, Fields<'_>),
        (to, theirs): (Typed<'_>, Fields<'_>),
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let in_order = ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| a.name == b.name);
        if in_order || ours.iter().any(|field| field.name.is_none()) {
            if ours.len() != theirs.len() {
                return Err(TranscodeError::Shape { from: from.name(), to: to.name() });
            }
            let mut pairs = ours.iter().zip(theirs);
            return pairs.try_for_each(|(a, b)| self.value(from.with(a.ty.id), to.with(b.ty.id), out));
        }
        let mut spans = Vec::with_capacity(ours.len());
        for field in ours {
            let start: &[u8] = self.input;
            skip(self.input, from.with(field.ty.id), self.depth)?;
            spans.push((field, start.get(..start.len() - self.input.len()).unwrap_or_default()));
        }
        for field in theirs {
            match spans.iter().find(|(ours, _)| ours.name == field.name) {
                Some((ours, span)) => Transcoder { input: &mut &**span, depth: self.depth }.value(
                    from.with(ours.ty.id),
                    to.with(field.ty.id),
                    out,
                )?,
                None => zero(to.with(field.ty.id), self.depth, out)?,
            }
        }
        Ok(())
    }
}

/// Passes over a value.
fn skip(input: &mut &[u8], ty: Typed<'_>, depth: u32) -> Result<()> {
    // The value as itself, into nowhere.
    Transcoder { input, depth }.value(ty, ty, &mut Vec::new())
}

/// Appends the value of a type whose bytes are as zero as they can be.
fn zero(ty: Typed<'_>, depth: u32, out: &mut Vec<u8>) -> Result<()> {
    let depth = depth + 1;
    if depth > MAX_DEPTH {
        return Err(TranscodeError::Type(ty.id));
    }
    let mut each = |ids: &mut dyn Iterator<Item = u32>| -> Result<()> {
        for id in ids {
            zero(ty.with(id), depth, out)?;
        }
        Ok(())
    };
    match ty.def()? {
        TypeDef::Composite(composite) => each(&mut composite.fields.iter().map(|field| field.ty.id)),
        TypeDef::Tuple(tuple) => each(&mut tuple.fields.iter().map(|field| field.id)),
        TypeDef::Array(array) => each(&mut (0..array.len).map(|_| array.type_param.id)),
        TypeDef::Variant(variants) => {
            let first = variants.variants.iter().min_by_key(|variant| variant.index);
            let first = first.ok_or(TranscodeError::Type(ty.id))?;
            out.push(first.index);
            first.fields.iter().try_for_each(|field| zero(ty.with(field.ty.id), depth, out))
        }
        TypeDef::Primitive(TypeDefPrimitive::Bool) => {
            out.push(0);
            Ok(())
        }
        TypeDef::Primitive(TypeDefPrimitive::Str) | TypeDef::Sequence(_) | TypeDef::BitSequence(_) => {
            out.push(0);
            Ok(())
        }
        TypeDef::Primitive(_) | TypeDef::Compact(_) => write_number(Number { bits: 0, is_negative: false }, ty, out),
    }
}

/// A whole number.
#[derive(Debug, Clone, Copy)]
struct Number {
    /// Two's complement.
    bits: u128,
    is_negative: bool,
}

fn read_number(input: &mut &[u8], ty: Typed<'_>) -> Result<Number> {
    let unsigned = |bits: u128| Ok(Number { bits, is_negative: false });
    #[allow(clippy::cast_sign_loss)] // the bits are what is wanted
    let signed = |value: i128| Ok(Number { bits: value as u128, is_negative: value < 0 });
    let primitive = match ty.def()? {
        TypeDef::Compact(_) => return unsigned(Compact::<u128>::decode(input).map_err(source)?.0),
        TypeDef::Primitive(primitive) => primitive,
        _ => return Err(TranscodeError::Type(ty.id)),
    };
    match primitive {
        TypeDefPrimitive::U8 => unsigned(u8::decode(input).map_err(source)?.into()),
        TypeDefPrimitive::U16 => unsigned(u16::decode(input).map_err(source)?.into()),
        TypeDefPrimitive::U32 => unsigned(u32::decode(input).map_err(source)?.into()),
        TypeDefPrimitive::U64 => unsigned(u64::decode(input).map_err(source)?.into()),
        TypeDefPrimitive::U128 => unsigned(u128::decode(input).map_err(source)?),
        TypeDefPrimitive::I8 => signed(i8::decode(input).map_err(source)?.into()),
        TypeDefPrimitive::I16 => signed(i16::decode(input).map_err(source)?.into()),
        TypeDefPrimitive::I32 => signed(i32::decode(input).map_err(source)?.into()),
        TypeDefPrimitive::I64 => signed(i64::decode(input).map_err(source)?.into()),
        TypeDefPrimitive::I128 => signed(i128::decode(input).map_err(source)?),
        _ => Err(TranscodeError::Type(ty.id)),
    }
}

fn write_number(number: Number, ty: Typed<'_>, out: &mut Vec<u8>) -> Result<()> {
    let (primitive, is_compact) = match ty.def()? {
        TypeDef::Compact(compact) => (ty.compact(compact.type_param.id)?, true),
        TypeDef::Primitive(primitive) => (primitive.clone(), false),
        _ => return Err(TranscodeError::Type(ty.id)),
    };
    let (bytes, is_signed) = match primitive {
        TypeDefPrimitive::U8 => (1, false),
        TypeDefPrimitive::U16 => (2, false),
        TypeDefPrimitive::U32 => (4, false),
        TypeDefPrimitive::U64 => (8, false),
        TypeDefPrimitive::U128 => (16, false),
        TypeDefPrimitive::I8 => (1, true),
        TypeDefPrimitive::I16 => (2, true),
        TypeDefPrimitive::I32 => (4, true),
        TypeDefPrimitive::I64 => (8, true),
        TypeDefPrimitive::I128 => (16, true),
        _ => return Err(TranscodeError::Type(ty.id)),
    };
    let bits = bytes * 8 - u32::from(is_signed);
    let magnitude = if number.is_negative { !number.bits } else { number.bits };
    if magnitude.checked_shr(bits).unwrap_or(0) != 0 || (number.is_negative && !is_signed) {
        return Err(TranscodeError::Number(number.bits));
    }
    if is_compact {
        Compact(number.bits).encode_to(out);
    } else {
        out.extend(number.bits.to_le_bytes().into_iter().take(bytes as usize));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use scale_info::{MetaType, Registry, TypeInfo};

    use super::*;

    mod older {
        use super::*;

        #[derive(Encode, Decode, TypeInfo, Debug, PartialEq)]
        pub(super) enum Kind {
            #[codec(index = 3)]
            Hot { degrees: u16 },
            #[codec(index = 5)]
            Cold(u8, Vec<u8>),
            #[codec(index = 9)]
            Gone,
        }

        #[derive(Encode, Decode, TypeInfo, Debug, PartialEq)]
        pub(super) struct Thing {
            pub(super) id: u16,
            #[codec(compact)]
            pub(super) size: u32,
            pub(super) kind: Kind,
            pub(super) name: String,
            pub(super) tail: [(u16, i8); 2],
            pub(super) left_out: Option<bool>,
        }
    }

    mod newer {
        use super::*;

        #[derive(Encode, Decode, TypeInfo, Debug, PartialEq)]
        pub(super) struct Id(pub(super) u16);

        #[derive(Encode, Decode, TypeInfo, Debug, PartialEq)]
        pub(super) enum Kind {
            #[codec(index = 0)]
            Cold(u8, Vec<u8>),
            #[codec(index = 7)]
            Hot { is_dry: bool, degrees: u64 },
        }

        #[derive(Encode, Decode, TypeInfo, Debug, PartialEq)]
        pub(super) struct Thing {
            pub(super) name: String,
            pub(super) kind: Kind,
            pub(super) id: Id,
            pub(super) added: Option<Vec<u8>>,
            #[codec(compact)]
            pub(super) size: u64,
            pub(super) tail: [(Id, i32); 2],
        }
    }

    fn registry<A: TypeInfo + 'static>() -> (PortableRegistry, u32) {
        let mut registry = Registry::new();
        let id = registry.register_type(&MetaType::new::<A>()).id;
        (registry.into(), id)
    }

    fn convert<A: TypeInfo + Encode + 'static, B: TypeInfo + Decode + 'static>(value: &A) -> Result<B> {
        let ((from, a), (to, b)) = (registry::<A>(), registry::<B>());
        let (bytes, mut out) = (value.encode(), Vec::new());
        let mut input = bytes.as_slice();
        transcode(&mut input, Typed::new(&from, a), Typed::new(&to, b), &mut out)?;
        assert!(input.is_empty());
        Ok(B::decode(&mut out.as_slice()).unwrap())
    }

    fn thing(kind: older::Kind) -> older::Thing {
        older::Thing { id: 7, size: 70_000, kind, name: "x".into(), tail: [(1, -2), (3, 4)], left_out: Some(true) }
    }

    #[test]
    fn a_value_goes_over_by_name_in_another_order_width_and_wrapper() {
        let newer: newer::Thing = convert(&thing(older::Kind::Hot { degrees: 300 })).unwrap();
        assert_eq!(
            newer,
            newer::Thing {
                name: "x".into(),
                kind: newer::Kind::Hot { is_dry: false, degrees: 300 },
                id: newer::Id(7),
                added: None,
                size: 70_000,
                tail: [(newer::Id(1), -2), (newer::Id(3), 4)],
            }
        );
        let back: older::Thing = convert(&newer).unwrap();
        assert_eq!(back.left_out, None);
        let cold: newer::Thing = convert(&thing(older::Kind::Cold(1, vec![2, 3]))).unwrap();
        assert_eq!(cold.kind, newer::Kind::Cold(1, vec![2, 3]));
    }

    #[test]
    fn what_the_target_can_not_say_is_an_error() {
        let gone = convert::<_, newer::Thing>(&thing(older::Kind::Gone));
        assert_eq!(gone, Err(TranscodeError::Variant("Gone".into())));
        assert_eq!(convert::<_, u8>(&300_u16), Err(TranscodeError::Number(300)));
        assert_eq!(convert::<_, u64>(&-1_i64), Err(TranscodeError::Number(u128::MAX)));
        assert_eq!(convert::<_, i8>(&-128_i64), Ok(-128));
        assert!(matches!(convert::<_, Vec<u8>>(&7_u8), Err(TranscodeError::Shape { .. })));
    }

    #[test]
    fn sameness_is_of_bytes_and_names_and_not_of_wrappers() {
        let same = |(a, a_id): (PortableRegistry, u32), (b, b_id): (PortableRegistry, u32)| {
            is_same(Typed::new(&a, a_id), Typed::new(&b, b_id))
        };
        assert!(same(registry::<u16>(), registry::<newer::Id>()));
        assert!(same(registry::<Vec<(u16, [u8; 4])>>(), registry::<Vec<(newer::Id, [u8; 4])>>()));
        assert!(!same(registry::<older::Thing>(), registry::<newer::Thing>()));
        assert!(!same(registry::<older::Kind>(), registry::<newer::Kind>()));
        assert!(!same(registry::<u16>(), registry::<Compact<u16>>()));
        assert!(same(registry::<older::Thing>(), registry::<older::Thing>()));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let ((from, a), (to, b)) = (registry::<older::Thing>(), registry::<newer::Thing>());
            let _ = transcode(&mut bytes.as_slice(), Typed::new(&from, a), Typed::new(&to, b), &mut Vec::new());
        }
    }
}
