#pragma once
// All ops, for users and examples; the project's own files include the families that they use.

#include "ops/attention.hpp"
#include "ops/binary.hpp"
#include "ops/index.hpp"
#include "ops/layout.hpp"
#include "ops/loss.hpp"
#include "ops/matmul.hpp"
#include "ops/norm.hpp"
#include "ops/optimizer.hpp"
#include "ops/random.hpp"
#include "ops/reduce.hpp"
#include "ops/rotary.hpp"
#include "ops/routing.hpp"
#include "ops/softmax.hpp"
#include "ops/unary.hpp"
