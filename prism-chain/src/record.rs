//! Composites of the chain read field by field, by name: what is new is passed over, what is gone reads as nothing.
use crate::error::ChainError;
use scale_info::PortableRegistry;
use subxt::ext::scale_decode::{
    DecodeAsType, Visitor,
    visitor::{
        DecodeError, Unexpected, decode_with_visitor,
        types::{Composite, Variant},
    },
};

/// A composite's fields, undecoded.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    fields: Vec<Field<'a, 'a>>,
    types: &'a PortableRegistry,
}

#[derive(Debug)]
struct Field<'scale, 'resolver> {
    name: Option<&'resolver str>,
    ty: u32,
    bytes: &'scale [u8],
}

impl<'a> Record<'a> {
    /// The record that the bytes are; nothing for a `None`.
    pub(crate) fn read(
        mut bytes: &'a [u8],
        ty: u32,
        types: &'a PortableRegistry,
        what: &str,
    ) -> Result<Option<Self>, ChainError> {
        let wrong = |reason: String| ChainError::Decode { field: what.to_owned(), reason };
        let fields = decode_with_visitor(&mut bytes, ty, types, Fields).map_err(|error| wrong(error.to_string()))?;
        if bytes.is_empty() {
            Ok(fields.map(|fields| Self { fields, types }))
        } else {
            Err(wrong(format!("{} bytes are left over", bytes.len())))
        }
    }

    /// The field of this name; nothing where the type has no such field, or where it is `None`.
    pub(crate) fn maybe<T: DecodeAsType>(&self, name: &str) -> Result<Option<T>, ChainError> {
        self.field::<Option<T>>(name).map(Option::flatten)
    }

    /// The field of this name; nothing where the type has no such field.
    pub(crate) fn field<T: DecodeAsType>(&self, name: &str) -> Result<Option<T>, ChainError> {
        let Some(field) = self.fields.iter().find(|field| field.name == Some(name)) else { return Ok(None) };
        T::decode_as_type(&mut &*field.bytes, field.ty, self.types)
            .map(Some)
            .map_err(|error| ChainError::Decode { field: name.to_owned(), reason: error.to_string() })
    }
}

/// Takes a composite apart; sees through `Option` and through newtypes.
struct Fields;

impl Visitor for Fields {
    type Value<'scale, 'resolver> = Option<Vec<Field<'scale, 'resolver>>>;
    type Error = DecodeError;
    type TypeResolver = PortableRegistry;

    fn visit_composite<'scale, 'resolver>(
        self,
        value: &mut Composite<'scale, 'resolver, PortableRegistry>,
        _: u32,
    ) -> Result<Self::Value<'scale, 'resolver>, DecodeError> {
        if let [field] = value.fields()
            && field.name.is_none()
        {
            return value.decode_item(self).unwrap_or(Err(Unexpected::Composite.into()));
        }
        let fields = value.map(|field| {
            let field = field?;
            Ok(Field { name: field.name(), ty: *field.type_id(), bytes: field.bytes() })
        });
        fields.collect::<Result<_, _>>().map(Some)
    }

    fn visit_variant<'scale, 'resolver>(
        self,
        value: &mut Variant<'scale, 'resolver, PortableRegistry>,
        _: u32,
    ) -> Result<Self::Value<'scale, 'resolver>, DecodeError> {
        match value.name() {
            "None" => Ok(None),
            "Some" => value.fields().decode_item(self).unwrap_or(Err(Unexpected::Variant.into())),
            _ => Err(Unexpected::Variant.into()),
        }
    }
}
