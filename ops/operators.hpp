#pragma once
// + - * / between Variables, which broadcast as in NumPy, and between a Variable and a number:
//
//   const Variable y = (x - mean) * ops::rsqrt(variance + 1e-5);
//
// Each is the op of its name (binary.hpp; unary.hpp for numbers): what the tape and errors show is "add", not
// "+". They are found wherever a Variable is, as this is its namespace; ops.hpp includes them.

#include "ops/binary.hpp"
#include "ops/unary.hpp"

namespace simsmoe {

inline Variable operator+(const Variable& a, const Variable& b) { return ops::add(a, b); }
inline Variable operator+(const Variable& x, double number) { return ops::add(x, number); }
inline Variable operator+(double number, const Variable& x) { return ops::add(x, number); }

inline Variable operator-(const Variable& a, const Variable& b) { return ops::sub(a, b); }
inline Variable operator-(const Variable& x, double number) { return ops::sub(x, number); }
inline Variable operator-(double number, const Variable& x) { return ops::sub(number, x); }
inline Variable operator-(const Variable& x) { return ops::neg(x); }

inline Variable operator*(const Variable& a, const Variable& b) { return ops::mul(a, b); }
inline Variable operator*(const Variable& x, double number) { return ops::mul(x, number); }
inline Variable operator*(double number, const Variable& x) { return ops::mul(x, number); }

inline Variable operator/(const Variable& a, const Variable& b) { return ops::div(a, b); }
inline Variable operator/(const Variable& x, double number) { return ops::div(x, number); }
inline Variable operator/(double number, const Variable& x) { return ops::div(number, x); }

}  // namespace simsmoe
