//! Compares engines that speak DynamoDB's JSON protocol: sequences of generated requests go to two of them, and every
//! response has to be the same, except for differences that are listed with their reason.

pub mod compare;
pub mod engines;
pub mod expressions;
pub mod known;
pub mod requests;
pub mod values;
