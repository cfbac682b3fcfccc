#pragma once
// How alike the outputs of two experts on the same tokens are, as one number that grows with likeness: what is
// minimised keeps experts apart. x, y: [n, p], the projected outputs; bars: rows of length 1.
//
//   cka          moe/cka.hpp with the options' kernel
//   cosine       mean_i  x_i . y_i                                                   (bars)
//   abs_cosine   mean_i |x_i . y_i|                                                  (bars)
//   infonce      mean_i log softmax(x_i . y_j / 0.1 over j)_i                        (bars)  how surely y_i is found
//   dcl          mean_i s_ii - lse_{j!=i} x_i.x_j/t - lse_{j!=i} x_i.y_j/t, both ways, halved; t = 0.07 (bars)
//   nt_xent      mean over the 2n rows of z = [x; y] of log softmax(z_i . z_j / 0.5 over j != i) at the partner (bars)
//
// The last three are contrastive losses turned round. As published, InfoNCE, DirectCLR and both SimCLR forms of the
// SimSMoE code pull the experts together and are the wrong way for this purpose. Not offered: directclr (infonce on
// the first columns), hypersphere (turned round, its uniformity part makes rows clump), rince (unbounded), tico (its
// state couples the pairs).

#include "engine/tape.hpp"
#include "moe/similarity_options.hpp"

namespace simsmoe::moe {

struct Likeness {
  Variable value;           // f64 []; undefined where it has no meaning, see cka()
  Tensor mean_kernel = {};  // f64 [], of cka with an rbf kernel
};

// x, y: [n, p] with n >= 2; the options resolved, without an auto
Likeness likeness(const Variable& x, const Variable& y, const SimilarityOptions& options);

// The largest value that it can take: a threshold must be below.
double largest_likeness(const SimilarityOptions& options);

}  // namespace simsmoe::moe
