// An image read where a flow points, and how much a flow brings to each pixel.
//
// Both give a pixel's value to, or take it from, the four pixels around `p + flow(p)`. Coordinates are compared as
// floating-point numbers before they become an index, so flows far outside are harmless; NaN reaches the result.
#include <algorithm>
#include <cmath>

#include "support.h"

namespace uflow {
namespace {

// The four pixels around a point: index of each, 0 if outside; its share; whether it is inside
struct Corners {
  int32_t index[4];
  float share[4], inside[4], right, below;
};

inline void corner(Corners& c, int i, float x, float y, float share, int64_t h, int64_t w) {
  const bool inside = x >= 0 && x <= w - 1 && y >= 0 && y <= h - 1;
  c.inside[i] = inside ? 1.0f : 0.0f;
  c.index[i] = inside ? static_cast<int32_t>(y) * static_cast<int32_t>(w) + static_cast<int32_t>(x) : 0;
  c.share[i] = share * c.inside[i];  // 0 * NaN stays NaN
}

// The pixels right of and below a point are its `ceiling`, the same at whole numbers, or its floor plus one
inline Corners around(float x, float y, int64_t h, int64_t w, bool ceiling) {
  Corners c;
  const float x0 = std::floor(x), y0 = std::floor(y);
  const float x1 = ceiling ? std::ceil(x) : x0 + 1, y1 = ceiling ? std::ceil(y) : y0 + 1;
  c.right = x - x0;
  c.below = y - y0;
  corner(c, 0, x0, y0, (1 - c.right) * (1 - c.below), h, w);
  corner(c, 1, x1, y0, c.right * (1 - c.below), h, w);
  corner(c, 2, x0, y1, (1 - c.right) * c.below, h, w);
  corner(c, 3, x1, y1, c.right * c.below, h, w);
  return c;
}

// The derivatives by x and y of the sum of the shares times `value`
inline void slopes(const Corners& c, const float value[4], float& by_x, float& by_y) {
  by_x = (1 - c.below) * (value[1] - value[0]) + c.below * (value[3] - value[2]);
  by_y = (1 - c.right) * (value[2] - value[0]) + c.right * (value[3] - value[1]);
}

// The corners of the points that row `y` of a flow leads to
void points(const Tensor4& flow, int64_t n, int64_t y, std::vector<Corners>& to) {
  const float *u = flow.data + n * flow.sample() + y * flow.w, *v = u + flow.plane();
  to.resize(flow.w);
  for (int64_t x = 0; x < flow.w; x++) to[x] = around(x + u[x], y + v[x], flow.h, flow.w, true);
}

void check(const Tensor4& image, const Tensor4& flow) {
  require(flow.c == 2 && flow.n == image.n && flow.h == image.h && flow.w == image.w, "flow and image do not fit");
  require(image.plane() < (int64_t{1} << 24), "an image is too large");  // whole numbers of a float
}

// What the range map is made of: pixels of the flow, continued by `margin`, and where they fall on the coarse grid
struct Splat {
  Tensor4 flow, total;
  int64_t factor, margin;

  Splat(const Tensor4& flow, const Tensor4& total, int32_t factor)
      : flow(flow), total(total), factor(factor), margin(factor > 1 ? factor / 2 : 0) {
    require(factor > 0 && flow.c == 2, "the range map needs a flow and a factor of at least 1");
    require(total.n == flow.n && total.c == 1 && total.h == flow.h / factor && total.w == flow.w / factor,
            "the range map has the wrong size");
    require(flow.plane() < (int64_t{1} << 24), "a flow is too large");
  }

  // Calls `each(pixel of the flow, corners)` for the pixels of sample `n` in a fixed order
  template <class Each>
  void pixels(int64_t n, Each each) const {
    const float *u = flow.data + n * flow.sample(), *v = u + flow.plane();
    const float shift = (1 - factor) * 0.5f, scale = static_cast<float>(factor);
    for (int64_t y = -margin; y < flow.h + margin; y++) {
      for (int64_t x = -margin; x < flow.w + margin; x++) {
        const int64_t row = std::clamp<int64_t>(y, 0, flow.h - 1), column = std::clamp<int64_t>(x, 0, flow.w - 1);
        const int64_t i = row * flow.w + column;
        float to_x = (x + margin) + u[i] - margin, to_y = (y + margin) + v[i] - margin;
        if (factor > 1) {
          to_x = (to_x + shift) / scale;
          to_y = (to_y + shift) / scale;
        }
        each(i, around(to_x, to_y, total.h, total.w, false));
      }
    }
  }
};

}  // namespace
}  // namespace uflow

using namespace uflow;

// image, flow -> warped
UFLOW_KERNEL(UflowWarp) {
  in.expect(3);
  const Tensor4 image = in.tensor(0), flow = in.tensor(1);
  check(image, flow);
  const Tensor4 out = in.tensor(2, image.n, image.c, image.h, image.w);
#pragma omp parallel if (image.n * image.sample() > 8192)
  {
    std::vector<Corners> at;
#pragma omp for schedule(static)
    for (int64_t line = 0; line < image.n * image.h; line++) {
      const int64_t n = line / image.h, y = line % image.h;
      points(flow, n, y, at);
      for (int64_t c = 0; c < image.c; c++) {
        const float* from = image.data + n * image.sample() + c * image.plane();
        float* to = out.data + (from - image.data) + y * image.w;
        for (int64_t x = 0; x < image.w; x++) {
          const Corners& p = at[x];
          to[x] = from[p.index[0]] * p.share[0] + from[p.index[1]] * p.share[1] + from[p.index[2]] * p.share[2] +
                  from[p.index[3]] * p.share[3];
        }
      }
    }
  }
}

// image, flow, dwarped -> dimage; the rows of a sample may meet in a pixel, so a thread has whole samples
UFLOW_KERNEL(UflowWarpImageGradient) {
  in.expect(4);
  const Tensor4 image = in.tensor(0), flow = in.tensor(1);
  check(image, flow);
  const Tensor4 gradient = in.tensor(2, image.n, image.c, image.h, image.w);
  float* to = in.tensor(3, image.n, image.c, image.h, image.w).data;
#pragma omp parallel if (image.n * image.sample() > 8192)
  {
    std::vector<Corners> at;
#pragma omp for schedule(static)
    for (int64_t n = 0; n < image.n; n++) {
      memset(to + n * image.sample(), 0, image.sample() * 4);
      for (int64_t y = 0; y < image.h; y++) {
        points(flow, n, y, at);
        for (int64_t c = 0; c < image.c; c++) {
          float* plane = to + n * image.sample() + c * image.plane();
          const float* g = gradient.data + (plane - to) + y * image.w;
          for (int64_t x = 0; x < image.w; x++)
            for (int j = 0; j < 4; j++) plane[at[x].index[j]] += g[x] * at[x].share[j];
        }
      }
    }
  }
}

// image, flow, dwarped -> dflow
UFLOW_KERNEL(UflowWarpFlowGradient) {
  in.expect(4);
  const Tensor4 image = in.tensor(0), flow = in.tensor(1);
  check(image, flow);
  const Tensor4 gradient = in.tensor(2, image.n, image.c, image.h, image.w);
  float* to = in.tensor(3, flow.n, 2, flow.h, flow.w).data;
#pragma omp parallel if (image.n * image.sample() > 8192)
  {
    std::vector<Corners> at;
#pragma omp for schedule(static)
    for (int64_t line = 0; line < image.n * image.h; line++) {
      const int64_t n = line / image.h, y = line % image.h;
      points(flow, n, y, at);
      float *to_u = to + n * flow.sample() + y * flow.w, *to_v = to_u + flow.plane();
      memset(to_u, 0, flow.w * 4);
      memset(to_v, 0, flow.w * 4);
      for (int64_t c = 0; c < image.c; c++) {
        const float* from = image.data + n * image.sample() + c * image.plane();
        const float* g = gradient.data + (from - image.data) + y * image.w;
        for (int64_t x = 0; x < image.w; x++) {
          const Corners& p = at[x];
          float value[4], by_x, by_y;
          for (int j = 0; j < 4; j++) value[j] = from[p.index[j]] * p.inside[j];
          slopes(p, value, by_x, by_y);
          to_u[x] += g[x] * by_x;
          to_v[x] += g[x] * by_y;
        }
      }
    }
  }
}

// flow, (factor) -> range map on the coarse grid
UFLOW_KERNEL(UflowRangeMap) {
  in.expect(3);
  const Splat splat(in.tensor(0), in.tensor(2), in.numbers(1, 1)[0]);
  const float area = static_cast<float>(splat.factor * splat.factor);
#pragma omp parallel for schedule(static) if (splat.flow.n * splat.flow.plane() > 4096)
  for (int64_t n = 0; n < splat.flow.n; n++) {
    float* to = splat.total.data + n * splat.total.plane();
    memset(to, 0, splat.total.plane() * 4);
    splat.pixels(n, [&](int64_t, const Corners& p) {
      for (int j = 0; j < 4; j++) to[p.index[j]] += p.share[j];
    });
    for (int64_t i = 0; i < splat.total.plane(); i++) to[i] /= area;
  }
}

// flow, (factor), dmap -> dflow
UFLOW_KERNEL(UflowRangeMapGradient) {
  in.expect(4);
  const Tensor4 gradient = in.tensor(2);
  const Splat splat(in.tensor(0), gradient, in.numbers(1, 1)[0]);
  float* to = in.tensor(3, splat.flow.n, 2, splat.flow.h, splat.flow.w).data;
  const float scale = static_cast<float>(splat.factor * splat.factor * splat.factor);
#pragma omp parallel for schedule(static) if (splat.flow.n * splat.flow.plane() > 4096)
  for (int64_t n = 0; n < splat.flow.n; n++) {
    const float* g = gradient.data + n * gradient.plane();
    float* to_u = to + n * splat.flow.sample();
    memset(to_u, 0, splat.flow.sample() * 4);
    splat.pixels(n, [&](int64_t i, const Corners& p) {
      float value[4], by_x, by_y;
      for (int j = 0; j < 4; j++) value[j] = g[p.index[j]] * p.inside[j];
      slopes(p, value, by_x, by_y);
      to_u[i] += by_x / scale;
      to_u[i + splat.flow.plane()] += by_y / scale;
    });
  }
}
