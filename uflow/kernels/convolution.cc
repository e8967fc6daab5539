// Convolution and transposed convolution with bias and optional LeakyReLU, and their gradients.
//
// Values and input gradients: a matrix product of the weights and, for 2 x LANES pixels at a time, the values that the
// kernel sees at these pixels, copied side by side (`correlate`). Both directions and every stride are such a product
// over a list of taps. Weight gradients: a sum over pixels of outer products, with the channels last, where the values
// that a row of the kernel sees lie side by side in memory (`weight_gradient`).
#include <omp.h>

#include <algorithm>

#include "support.h"

namespace uflow {
namespace {

// Outputs of a tile at most; with WIDE accumulators each they fill the 32 registers of AVX-512, and of the 16 of AVX2
// what two vectors of values and a weight leave
constexpr int ROWS = LANES == 16 ? 8 : 6;
constexpr int WIDE = 2;  // vectors of a tile
constexpr int PANEL = WIDE * LANES;
constexpr int BLOCK = 192;  // taps of a panel at a time: 24 KB with AVX-512, fits the first-level cache
typedef Of<4>::Vector Four;

int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

// Taps: pairs of a value's place relative to a pixel and a weight's place relative to an output
struct Taps {
  std::vector<int32_t> value;
  std::vector<int64_t> weight;
  void add(int64_t v, int64_t w) {
    require(v >= 0 && v < (int64_t{1} << 31), "an image is too large");
    value.push_back(static_cast<int32_t>(v));
    weight.push_back(w);
  }
};

// Planes with zeros around, whose columns are sorted by their remainder modulo `stride`
struct Field {
  int64_t top, left, height, width, stride;
  int64_t part() const { return (width + stride - 1) / stride; }
  int64_t row() const { return part() * stride; }
  int64_t plane() const { return height * row(); }
  int64_t place(int64_t y, int64_t x) const { return y * row() + (x % stride) * part() + x / stride; }
};

// Copies `from` into a field; with `active`, as the gradient of the result of a LeakyReLU
void embed(const Tensor4& from, const float* active, const Field& field, float* to) {
  const int64_t planes = from.n * from.c;
#pragma omp parallel for schedule(static) if (planes * field.plane() > 16384)
  for (int64_t p = 0; p < planes; p++) {
    float* target = to + p * field.plane();
    memset(target, 0, field.plane() * 4);
    for (int64_t y = 0; y < from.h; y++) {
      if (y + field.top < 0 || y + field.top >= field.height) continue;
      const float* source = from.data + (p * from.h + y) * from.w;
      const float* a = active ? active + (p * from.h + y) * from.w : nullptr;
      const int64_t begin = std::max<int64_t>(0, -field.left), end = std::min(from.w, field.width - field.left);
      for (int64_t first = begin; first < std::min(end, begin + field.stride); first++) {
        float* line = target + field.place(y + field.top, first + field.left);
        const int64_t count = (end - first + field.stride - 1) / field.stride;
        if (a) {
          for (int64_t i = 0, x = first; i < count; i++, x += field.stride)
            line[i] = a[x] > 0 ? source[x] : SLOPE * source[x];
        } else if (field.stride == 1) {
          memcpy(line, source + first, count * 4);
        } else {
          for (int64_t i = 0, x = first; i < count; i++, x += field.stride) line[i] = source[x];
        }
      }
    }
  }
}

// Outputs of the next tile when so many are left, which may be fewer. A tile of one or two waits for its sums most of the
// time, so where six would leave such a one the last two have four
int block_rows(int64_t left) {
  if (ROWS == 6 && (left == 7 || left == 8)) return 4;
  return left > 4 ? ROWS : left > 2 ? 4 : left > 1 ? 2 : 1;
}

int64_t padded_rows(int64_t outputs) {
  int64_t total = 0;
  while (total < outputs) total += block_rows(outputs - total);
  return total;
}

// The weights in the order in which `correlate` reads them: blocks of outputs, in them taps, in them outputs
void pack_weights(const float* weight, int64_t step, int64_t outputs, const Taps& taps, float* to) {
  const int64_t count = taps.weight.size();
  for (int64_t m = 0, rows; m < outputs; m += rows) {
    rows = block_rows(outputs - m);
    for (int i = 0; i < rows; i++) {
      const float* from = weight + (m + i) * step;
      const bool real = m + i < outputs;
      for (int64_t t = 0; t < count; t++) to[t * rows + i] = real ? from[taps.weight[t]] : 0.0f;
    }
    to += count * rows;
  }
}

// tile[i][:] += sum over taps of weights[tap][i] * panel[tap][:]
template <int R>
void multiply(const float* weights, const float* panel, int64_t count, float* tile) {
  Vector sum[R][WIDE];
  for (int i = 0; i < R; i++)
    for (int j = 0; j < WIDE; j++) sum[i][j] = load(tile + i * PANEL + j * LANES);
  for (int64_t t = 0; t < count; t++) {
    Vector value[WIDE];
    for (int j = 0; j < WIDE; j++) value[j] = load(panel + t * PANEL + j * LANES);
#pragma GCC unroll 8
    for (int i = 0; i < R; i++)
      for (int j = 0; j < WIDE; j++) sum[i][j] += value[j] * weights[t * R + i];
  }
  for (int i = 0; i < R; i++)
    for (int j = 0; j < WIDE; j++) store(tile + i * PANEL + j * LANES, sum[i][j]);
}

void multiply(int rows, const float* weights, const float* panel, int64_t count, float* tile) {
  switch (rows) {
    case ROWS: return multiply<ROWS>(weights, panel, count, tile);
    case 4: return multiply<4>(weights, panel, count, tile);
    case 2: return multiply<2>(weights, panel, count, tile);
    default: return multiply<1>(weights, panel, count, tile);
  }
}

// What the taps see at the pixels of a panel, in runs of G neighboring pixels
template <int G>
void gather(const float* values, const int32_t* taps, int64_t count, const int32_t* pixels, float* panel) {
  for (int64_t t = 0; t < count; t++) {
    const float* from = values + taps[t];
    for (int g = 0; g < PANEL / G; g++) memcpy(panel + t * PANEL + g * G, from + pixels[g * G], G * 4);
  }
}

void gather(int run, const float* values, const int32_t* taps, int64_t count, const int32_t* pixels, float* panel) {
  switch (run) {
    case 16: return gather<LANES < 16 ? LANES : 16>(values, taps, count, pixels, panel);
    case 8: return gather<LANES < 8 ? LANES : 8>(values, taps, count, pixels, panel);
    case 4: return gather<4>(values, taps, count, pixels, panel);
    case 2: return gather<2>(values, taps, count, pixels, panel);
    default: return gather<1>(values, taps, count, pixels, panel);
  }
}

// Where results go
struct Target {
  float* data;
  int64_t height, width, sample, channel, row, column;
};

// target[n, m, y, x] = bias[m] + sum over taps of weight[m, tap] * values[n][tap + y * step + x], with `active` then
// through LeakyReLU
void correlate(const float* values, int64_t sample, int64_t step, const Taps& taps, const float* weights,
               int64_t outputs, const float* bias, bool active, int64_t samples, const Target& target) {
  const int64_t pixels = target.height * target.width, panels = (pixels + PANEL - 1) / PANEL;
  const int64_t count = taps.value.size(), padded = padded_rows(outputs);
  int run = 16;
  while (target.width % run) run /= 2;
#pragma omp parallel if (samples * pixels * count * outputs > 200000)
  {
    Scratch memory(BLOCK * PANEL + padded * PANEL);
    float *panel = memory, *tile = panel + BLOCK * PANEL;
    int32_t place[PANEL];
#pragma omp for schedule(static)
    for (int64_t job = 0; job < samples * panels; job++) {
      const int64_t n = job / panels, begin = (job % panels) * PANEL;
      const int64_t real = std::min<int64_t>(PANEL, pixels - begin);
      int64_t y = begin / target.width, x = begin % target.width;
      for (int64_t i = 0; i < PANEL; i++) {
        place[i] = i < real ? static_cast<int32_t>(y * step + x) : place[0];  // spare columns are not stored
        if (++x == target.width) {
          x = 0;
          y++;
        }
      }
      for (int64_t m = 0; m < padded; m++) {
        const Vector start = Vector{} + (bias && m < outputs ? bias[m] : 0.0f);
        for (int j = 0; j < WIDE; j++) store(tile + m * PANEL + j * LANES, start);
      }
      for (int64_t t = 0; t < count; t += BLOCK) {
        const int64_t some = std::min<int64_t>(BLOCK, count - t);
        gather(run, values + n * sample, taps.value.data() + t, some, place, panel);
        const float* w = weights;
        float* rows = tile;
        for (int64_t m = 0, r; m < outputs; m += r) {
          r = block_rows(outputs - m);
          multiply(r, w + t * r, panel, some, rows);
          w += count * r;
          rows += r * PANEL;
        }
      }
      float* out = target.data + n * target.sample;
      for (int64_t m = 0; m < outputs; m++) {
        float* result = tile + m * PANEL;
        if (active)
          for (int i = 0; i < PANEL; i++) result[i] = result[i] > 0 ? result[i] : SLOPE * result[i];
        if (target.column == 1 && target.row == target.width) {
          memcpy(out + m * target.channel + begin, result, real * 4);
        } else {
          float* line = out + m * target.channel + begin / target.width * target.row;
          int64_t x = begin % target.width;
          for (int64_t i = 0; i < real; i++) {
            line[x++ * target.column] = result[i];
            if (x == target.width) {
              x = 0;
              line += target.row;
            }
          }
        }
      }
    }
  }
}

struct Geometry {
  int64_t stride, dilation, padding;
  bool active;
  Geometry(const int32_t* options)
      : stride(options[0]), dilation(options[1]), padding(options[2]), active(options[3] != 0) {
    require(stride > 0 && dilation > 0 && padding >= 0, "stride, dilation and padding must be positive");
  }
  int64_t size(int64_t input, int64_t kernel) const {
    const int64_t rest = input + 2 * padding - dilation * (kernel - 1) - 1;
    require(rest >= 0, "the kernel is larger than the image");
    return rest / stride + 1;
  }
};

// y = convolution of x; weight (O, C, k, k)
void forward(const Tensor4& x, const Tensor4& weight, const float* bias, const Geometry& g, bool active,
             const Tensor4& y) {
  const Field field{g.padding, g.padding, x.h + 2 * g.padding, x.w + 2 * g.padding, g.stride};
  Taps taps;
  for (int64_t c = 0; c < x.c; c++)
    for (int64_t ky = 0; ky < weight.h; ky++)
      for (int64_t kx = 0; kx < weight.w; kx++)
        taps.add(c * field.plane() + field.place(ky * g.dilation, kx * g.dilation),
                 (c * weight.h + ky) * weight.w + kx);
  Scratch padded(x.n * x.c * field.plane()), packed(padded_rows(weight.n) * taps.value.size());
  embed(x, nullptr, field, padded);
  pack_weights(weight.data, weight.sample(), weight.n, taps, packed);
  correlate(padded, x.c * field.plane(), g.stride * field.row(), taps, packed, weight.n, bias, active, x.n,
            {y.data, y.h, y.w, y.sample(), y.plane(), y.w, 1});
}

// x = what a convolution hands back to its input for y, plus a bias; the pixels of one remainder modulo the stride are
// a correlation with the taps that meet them
void backward(const Tensor4& y, const float* active, const Tensor4& weight, const float* bias, const Geometry& g,
              const Tensor4& x) {
  const int64_t s = g.stride, reach = g.dilation * (std::max(weight.h, weight.w) - 1);
  const int64_t before = std::max<int64_t>(0, -floor_div(g.padding - reach, s)) + 1;
  const int64_t after = (g.padding + s) / s + 1;
  const int64_t rows = std::max((x.h + s - 1) / s, y.h), columns = std::max((x.w + s - 1) / s, y.w);
  const Field field{before, before, rows + before + after, columns + before + after, 1};
  Scratch padded(y.n * y.c * field.plane()), packed(padded_rows(x.c) * y.c * weight.h * weight.w);
  embed(y, active, field, padded);
  for (int64_t py = 0; py < std::min(s, x.h); py++) {
    for (int64_t px = 0; px < std::min(s, x.w); px++) {
      Taps taps;
      for (int64_t o = 0; o < y.c; o++)
        for (int64_t ky = 0; ky < weight.h; ky++)
          for (int64_t kx = 0; kx < weight.w; kx++) {
            const int64_t dy = py + g.padding - ky * g.dilation, dx = px + g.padding - kx * g.dilation;
            if (dy != floor_div(dy, s) * s || dx != floor_div(dx, s) * s) continue;
            taps.add(o * field.plane() + field.place(before + floor_div(dy, s), before + floor_div(dx, s)),
                     (o * weight.c * weight.h + ky) * weight.w + kx);
          }
      pack_weights(weight.data, weight.plane(), x.c, taps, packed);
      correlate(padded, y.c * field.plane(), field.row(), taps, packed, x.c, bias, false, y.n,
                {x.data + py * x.w + px, (x.h - py + s - 1) / s, (x.w - px + s - 1) / s, x.sample(), x.plane(),
                 s * x.w, s});
    }
  }
}

// The 4 x 4 values at `from` with rows and columns exchanged
inline void transpose(const float* from, int64_t step, Four out[4]) {
  const Four a = load<4>(from), b = load<4>(from + step), c = load<4>(from + 2 * step), d = load<4>(from + 3 * step);
  const Four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const Four AB = __builtin_shufflevector(a, b, 2, 6, 3, 7), CD = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  out[0] = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
  out[1] = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
  out[2] = __builtin_shufflevector(AB, CD, 0, 1, 4, 5);
  out[3] = __builtin_shufflevector(AB, CD, 2, 3, 6, 7);
}

// `to[x * pixel + c] = from[c * plane + x]`
void channels_last(const float* from, int64_t plane, int64_t channels, int64_t width, int64_t pixel, float* to) {
  Four out[4];
  int64_t c = 0;
  for (; c + 4 <= channels; c += 4) {
    int64_t x = 0;
    for (; x + 4 <= width; x += 4) {
      transpose(from + c * plane + x, plane, out);
      for (int i = 0; i < 4; i++) store<4>(to + (x + i) * pixel + c, out[i]);
    }
    for (; x < width; x++)
      for (int i = 0; i < 4; i++) to[x * pixel + c + i] = from[(c + i) * plane + x];
  }
  for (; c < channels; c++)
    for (int64_t x = 0; x < width; x++) to[x * pixel + c] = from[c * plane + x];
}

// tile[i][:] += sum over the pixels of some rows of gradient[pixel][i] * values[pixel][:]
template <int R, int V>
void outer(const float* gradient, const float* values, int64_t rows, int64_t width, int64_t row, int64_t pixel,
           float* tile) {
  Vector sum[R][V];
  for (int i = 0; i < R; i++)
    for (int j = 0; j < V; j++) sum[i][j] = load(tile + i * PANEL + j * LANES);
  for (int64_t y = 0; y < rows; y++) {
    const float* v = values + y * row;
    for (int64_t x = 0; x < width; x++, v += pixel, gradient += R) {
      Vector value[V];
      for (int j = 0; j < V; j++) value[j] = load(v + j * LANES);
#pragma GCC unroll 8
      for (int i = 0; i < R; i++)
        for (int j = 0; j < V; j++) sum[i][j] += value[j] * gradient[i];
    }
  }
  for (int i = 0; i < R; i++)
    for (int j = 0; j < V; j++) store(tile + i * PANEL + j * LANES, sum[i][j]);
}

template <int R>
void outer(bool wide, const float* g, const float* v, int64_t rows, int64_t width, int64_t row, int64_t pixel,
           float* tile) {
  wide ? outer<R, WIDE>(g, v, rows, width, row, pixel, tile) : outer<R, 1>(g, v, rows, width, row, pixel, tile);
}

void outer(int r, bool wide, const float* g, const float* v, int64_t rows, int64_t width, int64_t row, int64_t pixel,
           float* tile) {
  switch (r) {
    case ROWS: return outer<ROWS>(wide, g, v, rows, width, row, pixel, tile);
    case 4: return outer<4>(wide, g, v, rows, width, row, pixel, tile);
    case 2: return outer<2>(wide, g, v, rows, width, row, pixel, tile);
    default: return outer<1>(wide, g, v, rows, width, row, pixel, tile);
  }
}

// The gradient of the weights (O, C, k, k) of a convolution from x to y, for the gradient `dy` of its result
void weight_gradient(const Tensor4& x, const Tensor4& dy, const float* active, const Geometry& g,
                     const Tensor4& weight) {
  const int64_t height = (dy.h - 1) * g.stride + g.dilation * (weight.h - 1) + 1;
  const int64_t width = (dy.w - 1) * g.stride + g.dilation * (weight.w - 1) + 1;
  const int64_t row = width * x.c, sample = height * row, outputs = dy.c, padded = padded_rows(outputs);
  Scratch values(x.n * sample + PANEL), gradient(dy.n * dy.plane() * padded);
  float *vs = values, *gs = gradient;

#pragma omp parallel for schedule(static) collapse(2) if (x.n * sample > 16384)
  for (int64_t n = 0; n < x.n; n++) {
    for (int64_t y = 0; y < height; y++) {
      float* line = vs + n * sample + y * row;
      memset(line, 0, row * 4);
      const int64_t from = y - g.padding, count = std::min(x.w, width - g.padding);
      if (from >= 0 && from < x.h && count > 0)
        channels_last(x.data + n * x.sample() + from * x.w, x.plane(), x.c, count, x.c, line + g.padding * x.c);
    }
  }
  memset(vs + x.n * sample, 0, PANEL * 4);

  // blocks of outputs, in them pixels, in them outputs
#pragma omp parallel for schedule(static) if (dy.n * dy.sample() > 16384)
  for (int64_t n = 0; n < dy.n; n++) {
    Scratch masked(active ? dy.sample() : 1);
    const float* from = dy.data + n * dy.sample();
    if (active) {
      const float* a = active + n * dy.sample();
      float* m = masked;
      for (int64_t i = 0; i < dy.sample(); i++) m[i] = a[i] > 0 ? from[i] : SLOPE * from[i];
      from = m;
    }
    float* to = gs + n * dy.plane() * padded;
    for (int64_t o = 0, r; o < outputs; o += r) {
      r = block_rows(outputs - o);
      if (outputs - o < r) memset(to, 0, dy.plane() * r * 4);
      channels_last(from + o * dy.plane(), dy.plane(), std::min<int64_t>(r, outputs - o), dy.plane(), r, to);
      to += dy.plane() * r;
    }
  }

  // a run: values that lie side by side for a pixel; its tiles are PANEL wide
  const bool joined = g.dilation == 1;
  const int64_t length = joined ? weight.w * x.c : x.c, runs = joined ? weight.h : weight.h * weight.w;
  const int64_t tiles = (length + PANEL - 1) / PANEL, jobs = runs * tiles;
  const int64_t chunk = std::max<int64_t>(1, 128 / dy.w);  // rows whose values stay in the cache for all outputs
  Scratch results(jobs * padded * PANEL);
  float* sums = results;
#pragma omp parallel if (x.n * dy.plane() * length * runs * outputs > 200000)
  {
    const int64_t threads = omp_get_num_threads(), thread = omp_get_thread_num();
    const int64_t first = jobs * thread / threads, last = jobs * (thread + 1) / threads;
    memset(sums + first * padded * PANEL, 0, (last - first) * padded * PANEL * 4);
    for (int64_t n = 0; n < x.n; n++) {
      for (int64_t y = 0; y < dy.h; y += chunk) {
        const int64_t rows = std::min(chunk, dy.h - y);
        for (int64_t job = first; job < last; job++) {
          const int64_t run = job / tiles, tile = job % tiles;
          const int64_t ky = joined ? run : run / weight.w, kx = joined ? 0 : run % weight.w;
          const int64_t corner = (y * g.stride + ky * g.dilation) * row + kx * g.dilation * x.c;
          const float* v = vs + n * sample + corner + tile * PANEL;
          const float* d = gs + n * dy.plane() * padded;
          const bool wide = length - tile * PANEL > LANES;
          float* sum = sums + job * padded * PANEL;
          for (int64_t o = 0, r; o < outputs; o += r) {
            r = block_rows(outputs - o);
            outer(r, wide, d + y * dy.w * r, v, rows, dy.w, g.stride * row, g.stride * x.c, sum);
            d += dy.plane() * r;
            sum += r * PANEL;
          }
        }
      }
    }
    for (int64_t job = first; job < last; job++) {
      const int64_t run = job / tiles, tile = job % tiles;
      for (int64_t o = 0; o < outputs; o++) {
        for (int64_t i = 0; i < std::min<int64_t>(PANEL, length - tile * PANEL); i++) {
          const int64_t at = run * length + tile * PANEL + i;  // (ky, kx, c)
          float& to = weight.data[o * weight.sample() + at % x.c * weight.plane() + at / x.c];
          to = sums[(job * padded + o) * PANEL + i];
        }
      }
    }
  }
}

// Sums over samples and pixels
void bias_gradient(const Tensor4& dy, const float* active, float* to) {
#pragma omp parallel for schedule(static) if (dy.n * dy.sample() > 32768)
  for (int64_t c = 0; c < dy.c; c++) {
    double total = 0.0;
    for (int64_t n = 0; n < dy.n; n++) {
      const float* d = dy.data + n * dy.sample() + c * dy.plane();
      const float* a = active ? active + (d - dy.data) : nullptr;
      float part[LANES] = {};
      for (int64_t i = 0; i < dy.plane(); i += LANES) {
        const int64_t some = std::min<int64_t>(LANES, dy.plane() - i);
        for (int64_t j = 0; j < some; j++) part[j] += !a || a[i + j] > 0 ? d[i + j] : SLOPE * d[i + j];
      }
      for (int j = 0; j < LANES; j++) total += part[j];
    }
    to[c] = static_cast<float>(total);
  }
}

}  // namespace
}  // namespace uflow

using namespace uflow;

// x, weight, bias, geometry -> y
UFLOW_KERNEL(UflowConvolution) {
  in.expect(5);
  const Tensor4 x = in.tensor(0), weight = in.tensor(1);
  require(weight.c == x.c, "weights and image differ in the number of channels");
  const Geometry g(in.numbers(3, 4));
  const Tensor4 y = in.tensor(4, x.n, weight.n, g.size(x.h, weight.h), g.size(x.w, weight.w));
  forward(x, weight, in.vector(2, weight.n), g, g.active, y);
}

// x, weight, geometry, y, dy -> dx
UFLOW_KERNEL(UflowConvolutionInputGradient) {
  in.expect(6);
  const Tensor4 x = in.tensor(0), weight = in.tensor(1);
  require(weight.c == x.c, "weights and image differ in the number of channels");
  const Geometry g(in.numbers(2, 4));
  const Tensor4 y = in.tensor(3, x.n, weight.n, g.size(x.h, weight.h), g.size(x.w, weight.w));
  const Tensor4 dy = in.tensor(4, y.n, y.c, y.h, y.w);
  backward(dy, g.active ? y.data : nullptr, weight, nullptr, g, in.tensor(5, x.n, x.c, x.h, x.w));
}

// x, weight, geometry, y, dy -> dweight, dbias
UFLOW_KERNEL(UflowConvolutionWeightGradient) {
  in.expect(7);
  const Tensor4 x = in.tensor(0), weight = in.tensor(1);
  require(weight.c == x.c, "weights and image differ in the number of channels");
  const Geometry g(in.numbers(2, 4));
  const Tensor4 y = in.tensor(3, x.n, weight.n, g.size(x.h, weight.h), g.size(x.w, weight.w));
  const Tensor4 dy = in.tensor(4, y.n, y.c, y.h, y.w);
  const float* active = g.active ? y.data : nullptr;
  weight_gradient(x, dy, active, g, in.tensor(5, weight.n, weight.c, weight.h, weight.w));
  bias_gradient(dy, active, in.vector(6, weight.n));
}

// x, weight (inputs, outputs, k, k), bias, geometry -> y
UFLOW_KERNEL(UflowTransposed) {
  in.expect(5);
  const Tensor4 x = in.tensor(0), weight = in.tensor(1), y = in.tensor(4);
  const Geometry g(in.numbers(3, 4));
  require(weight.n == x.c && weight.c == y.c && y.n == x.n, "weights do not fit the images");
  require(g.size(y.h, weight.h) == x.h && g.size(y.w, weight.w) == x.w, "the sizes of the images do not fit");
  backward(x, nullptr, weight, in.vector(2, y.c), g, y);
}

// weight, geometry, x, dy -> dx
UFLOW_KERNEL(UflowTransposedInputGradient) {
  in.expect(5);
  const Tensor4 weight = in.tensor(0), x = in.tensor(2), dy = in.tensor(3);
  const Geometry g(in.numbers(1, 4));
  require(weight.n == x.c && weight.c == dy.c && dy.n == x.n, "weights do not fit the images");
  require(g.size(dy.h, weight.h) == x.h && g.size(dy.w, weight.w) == x.w, "the sizes of the images do not fit");
  forward(dy, weight, nullptr, g, false, in.tensor(4, x.n, x.c, x.h, x.w));
}

// weight, geometry, x, dy -> dweight, dbias
UFLOW_KERNEL(UflowTransposedWeightGradient) {
  in.expect(6);
  const Tensor4 weight = in.tensor(0), x = in.tensor(2), dy = in.tensor(3);
  const Geometry g(in.numbers(1, 4));
  require(weight.n == x.c && weight.c == dy.c && dy.n == x.n, "weights do not fit the images");
  require(g.size(dy.h, weight.h) == x.h && g.size(dy.w, weight.w) == x.w, "the sizes of the images do not fit");
  weight_gradient(dy, x, nullptr, g, in.tensor(4, weight.n, weight.c, weight.h, weight.w));
  bias_gradient(dy, nullptr, in.vector(5, dy.c));
}
