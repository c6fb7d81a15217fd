// Which Gaussians lie in a region of a picture, whatever stands in front of them.
#pragma once
#include "scene.hpp"
#include "threads.hpp"

namespace splats {

struct Outlook {  // a picture of a layer, and a region in it
    int width, height;
    double fx, fy, cx, cy;             // pixels; the centre of the first pixel is at 0.5
    double linear[9], translation[3];  // camera from layer, row-major; linear = scale * rotation
    double scale;
    double near, far;       // along the view axis, both included
    const uint8_t* region;  // [height][width] not 0: in it
};

// Sets in[i] to whether the centre of Gaussian i falls on a pixel of the region, or to whether its ellipse, as it is drawn, covers the
// centre of one. What cannot be drawn, behind the camera or not a number, is not in.
void centres_in(const RawGaussians& raw, const Outlook& outlook, Threads& threads, uint8_t* in);
void ellipses_in(const RawGaussians& raw, const Outlook& outlook, bool antialiased, Threads& threads, uint8_t* in);

}  // namespace splats
