// Correlation of each pixel with its neighborhood in the other map, as a mean over channels, without unfolding.
//
// Rows are computed in vectors of `V` pixels of padded copies, so that no border has to be asked for.
#include <algorithm>

#include "support.h"

namespace uflow {
namespace {

// A copy of `planes` planes with `margin` zeros around and spare zeros to the right, up to a whole vector
struct Padded {
  int64_t planes, height, width, margin, row, plane;
  Scratch memory;
  float* data;

  Padded(int64_t planes, int64_t height, int64_t width, int64_t margin, int64_t vector)
      : planes(planes), height(height), width(width), margin(margin),
        row((width + vector - 1) / vector * vector + 2 * margin), plane((height + 2 * margin) * row),
        memory(planes * plane), data(memory) {}

  void fill(const float* from) {
#pragma omp parallel for schedule(static) if (planes * plane > 32768)
    for (int64_t p = 0; p < planes; p++) {
      memset(data + p * plane, 0, plane * 4);
      for (int64_t y = 0; y < height; y++) memcpy(at(p, y, 0), from + (p * height + y) * width, width * 4);
    }
  }

  float* at(int64_t p, int64_t y, int64_t x) { return data + p * plane + (y + margin) * row + x + margin; }
};

struct Maps {
  Tensor4 first, second, cost;
  int64_t reach;  // of the neighborhood, px
};

int64_t spare(int64_t x, int64_t width, int64_t vector) { return std::min(vector, width - x); }

template <int V>
void forward(const Maps& m, bool active) {
  typedef typename Of<V>::Vector Values;
  const int64_t d = m.reach, window = 2 * d + 1, c = m.first.c, h = m.first.h, w = m.first.w;
  Padded first(m.first.n * c, h, w, 0, V), second(m.second.n * c, h, w, d, V);
  first.fill(m.first.data);
  second.fill(m.second.data);
#pragma omp parallel for schedule(static) if (m.cost.n * m.cost.sample() * c > 100000)
  for (int64_t line = 0; line < m.first.n * h; line++) {
    const int64_t n = line / h, y = line % h;
    for (int64_t dy = 0; dy < window; dy++) {
      for (int64_t x = 0; x < w; x += V) {
        float* out = m.cost.data + ((n * window + dy) * window * h + y) * w + x;
        for (int64_t dx = 0; dx < window; dx += 3) {  // three sums at a time
          const int64_t few = std::min<int64_t>(3, window - dx);
          Values sum[3] = {};
          const float *a = first.at(n * c, y, x), *b = second.at(n * c, y + dy - d, x - d + dx);
          for (int64_t k = 0; k < c; k++, a += first.plane, b += second.plane) {
            const Values value = load<V>(a);
            sum[0] += value * load<V>(b);
            if (few > 1) sum[1] += value * load<V>(b + 1);
            if (few > 2) sum[2] += value * load<V>(b + 2);
          }
          for (int64_t i = 0; i < few; i++) {
            float result[V];
            store<V>(result, sum[i] / static_cast<float>(c));
            if (active)
              for (int j = 0; j < V; j++) result[j] = result[j] > 0 ? result[j] : SLOPE * result[j];
            memcpy(out + (dx + i) * h * w, result, spare(x, w, V) * 4);
          }
        }
      }
    }
  }
}

// The gradients of both maps; `out` is the result of the forward pass if it went through LeakyReLU, else null
template <int V>
void backward(const Maps& m, const float* out, const float* gradient, float* to_first, float* to_second) {
  typedef typename Of<V>::Vector Values;
  const int64_t d = m.reach, window = 2 * d + 1, c = m.first.c, h = m.first.h, w = m.first.w, area = window * window;
  Scratch scaled(m.cost.n * m.cost.sample());
  float* g = scaled;
  const int64_t all = m.cost.n * m.cost.sample();
#pragma omp parallel for schedule(static) if (all > 32768)
  for (int64_t i = 0; i < all; i++)
    g[i] = (!out || out[i] > 0 ? gradient[i] : SLOPE * gradient[i]) / static_cast<float>(c);
  Padded first(m.first.n * c, h, w, d, V), second(m.second.n * c, h, w, d, V), cost(m.cost.n * area, h, w, d, V);
  first.fill(m.first.data);
  second.fill(m.second.data);
  cost.fill(g);
#pragma omp parallel for schedule(static) if (all * c > 100000)
  for (int64_t line = 0; line < m.first.n * h; line++) {
    const int64_t n = line / h, y = line % h;
    for (int64_t k = 0; k < c; k += 4) {  // four channels share what is read of the cost
      const int64_t few = std::min<int64_t>(4, c - k);
      int64_t plane[4];
      for (int64_t i = 0; i < 4; i++) plane[i] = (n * c + std::min(k + i, c - 1)) * first.plane;
      for (int64_t x = 0; x < w; x += V) {
        Values to_a[4] = {}, to_b[4] = {};
        for (int64_t dy = -d; dy <= d; dy++) {
          for (int64_t dx = -d; dx <= d; dx++) {
            const int64_t channel = n * area + (dy + d) * window + dx + d;
            const Values here = load<V>(cost.at(channel, y, x)), there = load<V>(cost.at(channel, y - dy, x - dx));
            const float* a = first.at(0, y - dy, x - dx);
            const float* b = second.at(0, y + dy, x + dx);
            for (int i = 0; i < 4; i++) {
              to_a[i] += here * load<V>(b + plane[i]);
              to_b[i] += there * load<V>(a + plane[i]);
            }
          }
        }
        for (int64_t i = 0; i < few; i++) {
          const int64_t at = ((n * c + k + i) * h + y) * w + x;
          float result[V];
          store<V>(result, to_a[i]);
          memcpy(to_first + at, result, spare(x, w, V) * 4);
          store<V>(result, to_b[i]);
          memcpy(to_second + at, result, spare(x, w, V) * 4);
        }
      }
    }
  }
}

Maps maps(const Arguments& in, int cost, int32_t reach) {
  const Tensor4 first = in.tensor(0), second = in.tensor(1, first.n, first.c, first.h, first.w);
  require(reach >= 0 && reach < 64, "the displacement must lie in 0..63");
  const int64_t window = 2 * reach + 1;
  return {first, second, in.tensor(cost, first.n, window * window, first.h, first.w), reach};
}

}  // namespace
}  // namespace uflow

using namespace uflow;

// first, second, (displacement, active) -> cost
UFLOW_KERNEL(UflowCostVolume) {
  in.expect(4);
  const int32_t* options = in.numbers(2, 2);
  const Maps m = maps(in, 3, options[0]);
  const bool active = options[1] != 0;
  if (m.first.w >= 16 && LANES >= 16) forward<16>(m, active);
  else if (m.first.w >= 8 && LANES >= 8) forward<8>(m, active);
  else forward<4>(m, active);
}

// first, second, (displacement, active), cost, dcost -> dfirst, dsecond
UFLOW_KERNEL(UflowCostVolumeGradient) {
  in.expect(7);
  const int32_t* options = in.numbers(2, 2);
  const Maps m = maps(in, 3, options[0]);
  const float* out = options[1] ? m.cost.data : nullptr;
  const float* gradient = in.tensor(4, m.cost.n, m.cost.c, m.cost.h, m.cost.w).data;
  float* to_first = in.tensor(5, m.first.n, m.first.c, m.first.h, m.first.w).data;
  float* to_second = in.tensor(6, m.first.n, m.first.c, m.first.h, m.first.w).data;
  if (m.first.w >= 16 && LANES >= 16) backward<16>(m, out, gradient, to_first, to_second);
  else if (m.first.w >= 8 && LANES >= 8) backward<8>(m, out, gradient, to_first, to_second);
  else backward<4>(m, out, gradient, to_first, to_second);
}
