// Soft Hamming distance of the census transforms of two images, and its gradients.
//
// What a pixel p adds for its neighbor q, it adds to q as well (both transforms change sign), so each pair is
// computed once: for one half of the neighborhood, on planes with zeros around, where values outside count as 0. Rows
// are done in bands of a fixed height, each by one thread; a value's sum has the same order whatever the bands.
#include <algorithm>
#include <cmath>

#include "support.h"

namespace uflow {
namespace {

constexpr int64_t BAND = 16;
constexpr float RED = 0.2989f, GREEN = 0.5870f, BLUE = 0.1140f;
constexpr float SOFT = 0.81f, TOLERANCE = 0.1f;

// Gray values in [0, 255] of a batch with `margin` zeros around
struct Gray {
  int64_t samples, height, width, margin, row, plane;
  Scratch memory;
  float* data;

  Gray(const Tensor4& image, int64_t margin)
      : samples(image.n), height(image.h), width(image.w), margin(margin), row(image.w + 2 * margin),
        plane((image.h + 2 * margin) * row), memory(samples * plane), data(memory) {
#pragma omp parallel for schedule(static) if (samples * plane > 8192)
    for (int64_t n = 0; n < samples; n++) {
      memset(data + n * plane, 0, plane * 4);
      const float *r = image.data + n * image.sample(), *g = r + image.plane(), *b = g + image.plane();
      for (int64_t y = 0; y < height; y++) {
        float* to = at(n, y, 0);
        for (int64_t x = 0, i = y * width; x < width; x++, i++)
          to[x] = 255.0f * (RED * r[i] + GREEN * g[i] + BLUE * b[i]);
      }
    }
  }

  float* at(int64_t n, int64_t y, int64_t x) const { return data + n * plane + (y + margin) * row + x + margin; }
};

inline float transform(float difference) { return difference / std::sqrt(SOFT + difference * difference); }

// What the pairs (p, p + step) add to the distance, for `count` pixels of a row
void pair(const float* __restrict a, const float* __restrict b, int64_t step, int64_t count, float* __restrict to) {
  for (int64_t x = 0; x < count; x++) {
    const float change = transform(a[x + step] - a[x]) - transform(b[x + step] - b[x]);
    const float square = change * change;
    to[x] = square / (TOLERANCE + square);
  }
}

// The gradient of what the pairs add by the difference of the gray values of `b`, for gradients `g` of the distances
void pair_gradient(const float* __restrict a, const float* __restrict b, const float* __restrict g, int64_t step,
                   int64_t g_step, int64_t count, float* __restrict to) {
  for (int64_t x = 0; x < count; x++) {
    const float difference = b[x + step] - b[x];
    const float soft = SOFT + difference * difference, root = std::sqrt(soft);
    const float change = difference / root - transform(a[x + step] - a[x]);
    const float rest = TOLERANCE + change * change;
    to[x] = (g[x] + g[x + g_step]) * (2 * TOLERANCE * change / (rest * rest)) * (SOFT / (soft * root));
  }
}

// Calls `pairs(sample, dy, dx, row, buffer)` for rows of pairs and adds them up in `to` (samples, height, width): the
// value at p enters with `here`, the value at p - (dy, dx) with `there`
template <class Pairs>
void gather(const Gray& gray, int64_t reach, float here, float there, Pairs pairs, float* to) {
  const int64_t h = gray.height, w = gray.width, bands = (h + BAND - 1) / BAND, wide = w + 2 * reach;
#pragma omp parallel if (gray.samples * h * w > 1024)
  {
    Scratch memory((BAND + reach) * wide);
    float* buffer = memory;
#pragma omp for schedule(static)
    for (int64_t job = 0; job < gray.samples * bands; job++) {
      const int64_t n = job / bands, top = job % bands * BAND, end = std::min(h, top + BAND);
      float* out = to + n * h * w;
      memset(out + top * w, 0, (end - top) * w * 4);
      for (int64_t dy = 0; dy <= reach; dy++) {
        for (int64_t dx = dy ? -reach : 1; dx <= reach; dx++) {
          // columns from -reach: `pairs` of p = x - reach
          for (int64_t y = top - dy; y < end; y++) pairs(n, dy, dx, y, buffer + (y - top + reach) * wide);
          for (int64_t y = top; y < end; y++) {
            const float* line = buffer + (y - top + reach) * wide + reach;
            const float* other = line - dy * wide - dx;
            float* result = out + y * w;
            for (int64_t x = 0; x < w; x++) result[x] += here * line[x] + there * other[x];
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace uflow

using namespace uflow;

// image, reconstruction, (patch) -> distance
UFLOW_KERNEL(UflowCensus) {
  in.expect(4);
  const Tensor4 image = in.tensor(0), other = in.tensor(1, image.n, image.c, image.h, image.w);
  const int64_t reach = in.numbers(2, 1)[0] / 2;
  require(image.c == 3 && reach > 0, "the census transform needs three channels and a patch of at least 3 px");
  const Tensor4 to = in.tensor(3, image.n, 1, image.h, image.w);
  // twice the reach: pairs are computed for pixels up to `reach` outside, whose neighbors lie as far again
  const Gray a(image, 2 * reach), b(other, 2 * reach);
  gather(a, reach, 1.0f, 1.0f,
         [&](int64_t n, int64_t dy, int64_t dx, int64_t y, float* buffer) {
           pair(a.at(n, y, -reach), b.at(n, y, -reach), dy * a.row + dx, a.width + 2 * reach, buffer);
         },
         to.data);
}

// image, reconstruction, (patch), ddistance -> dreconstruction
UFLOW_KERNEL(UflowCensusGradient) {
  in.expect(5);
  const Tensor4 image = in.tensor(0), other = in.tensor(1, image.n, image.c, image.h, image.w);
  const int64_t reach = in.numbers(2, 1)[0] / 2;
  require(image.c == 3 && reach > 0, "the census transform needs three channels and a patch of at least 3 px");
  const Tensor4 gradient = in.tensor(3, image.n, 1, image.h, image.w);
  const Tensor4 to = in.tensor(4, image.n, 3, image.h, image.w);
  const Gray a(image, 2 * reach), b(other, 2 * reach);
  const int64_t margin = 2 * reach, row = a.row;
  Scratch padded(image.n * a.plane), summed(image.n * image.plane());
  float *g = padded, *sum = summed;
  memset(g, 0, image.n * a.plane * 4);
  for (int64_t n = 0; n < image.n; n++)
    for (int64_t y = 0; y < image.h; y++)
      memcpy(g + n * a.plane + (y + margin) * row + margin, gradient.data + (n * image.h + y) * image.w, image.w * 4);
  // a difference is that of the neighbor minus that of the pixel itself
  gather(b, reach, -1.0f, 1.0f,
         [&](int64_t n, int64_t dy, int64_t dx, int64_t y, float* buffer) {
           const int64_t step = dy * row + dx;
           const float* at = g + n * a.plane + (y + margin) * row + margin - reach;
           pair_gradient(a.at(n, y, -reach), b.at(n, y, -reach), at, step, step, a.width + 2 * reach, buffer);
         },
         sum);
#pragma omp parallel for schedule(static) if (image.n * image.plane() > 8192)
  for (int64_t n = 0; n < image.n; n++) {
    const float* from = sum + n * image.plane();
    float* out = to.data + n * to.sample();
    const float share[3] = {255.0f * RED, 255.0f * GREEN, 255.0f * BLUE};
    for (int64_t c = 0; c < 3; c++)
      for (int64_t i = 0; i < image.plane(); i++) out[c * image.plane() + i] = share[c] * from[i];
  }
}
