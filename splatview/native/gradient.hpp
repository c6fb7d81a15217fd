// From what pulls at Gaussians on a picture to what pulls at their parameters.
#pragma once
#include "footprints.hpp"
#include "scene.hpp"
#include "threads.hpp"
#include "types.hpp"

namespace splats {

// The sums of a `Pull`: dS by r, g and b, and with p = dS/d(ln alpha) and (X, Y) a pixel's place in the Gaussian's standard deviations:
// sum of p, p X, p Y, p X X, p X Y, p Y Y. X = A (dx + h dy), Y = E dy, where A^2 = vc / det, E^2 = 1 / vc, h = -vb / vc.
constexpr int PULLED = 13;  // by the mean 3, by a turn about the layer's axes 3, by the log scales 3, by the logit 1, by r, g, b 3

// [N][PULLED] for every Gaussian; `outlook` as in footprints.hpp, its region not used.
void gradient(const RawGaussians& raw, const Outlook& outlook, const int64_t* sums, Threads& threads, float* pulled);

}  // namespace splats
