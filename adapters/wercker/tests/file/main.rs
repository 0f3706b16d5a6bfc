//! `wercker.yml`: golden cases, places, the schema, what is detected, any bytes.

mod any;
mod cases;
mod detected;
mod golden;
mod parts;
mod shown;
