/* The inner loops of fusing, for where a C compiler was there at installation. See `kernels.py`.

   Every function computes what the numpy code of its caller computes, to the last bit: sums are exact, and all
   that is rounded is rounded by the same operations in the same order. So compile without -ffast-math and with
   -ffp-contract=off. A function that finds something unusual (a file that ends, a number that is no number or
   too large) returns REFUSED and leaves the matter, and the error message, to its caller.

   Vectors are GCC's and clang's own, of 256 bits whatever the machine has; on x86-64 a second copy of each loop
   for AVX2 is chosen when the library is loaded. */

#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define REFUSED (-1)
#define ALWAYS static inline __attribute__((always_inline))
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define LOOP __attribute__((target_clones("avx2", "default")))
#else
#define LOOP
#endif

typedef float f32x8 __attribute__((vector_size(32)));
typedef int32_t i32x8 __attribute__((vector_size(32)));
typedef uint32_t u32x8 __attribute__((vector_size(32)));
typedef int64_t i64x4 __attribute__((vector_size(32)));
typedef double f64x4 __attribute__((vector_size(32)));
typedef float f32x4 __attribute__((vector_size(16)));

enum { F32, BF16, F16 };
enum { PLAIN, BAND, KEPT };
enum { ZERO = 0x7FFFFFFF };

#ifndef SOURCE
#define SOURCE ""
#endif
const char *cf_source(void) { return SOURCE; } /* the digest of this file, when it was compiled */

/* ---- reading ------------------------------------------------------------------------------------------- */

static int read_all(int fd, char *to, int64_t bytes, int64_t at) {
    while (bytes > 0) {
        ssize_t got = pread(fd, to, (size_t)bytes, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return REFUSED;
        to += got, at += got, bytes -= got;
    }
    return 0;
}

ALWAYS float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

/* A half shifted into place is an fp32 with an exponent 112 too small, denormals too. */
ALWAYS float half(uint16_t raw) {
    uint32_t bits = (uint32_t)(raw & 0x7FFF) << 13, sign = (uint32_t)(raw & 0x8000) << 16;
    float value = float_of(bits) * 0x1p112f;
    memcpy(&bits, &value, 4);
    bits |= (raw & 0x7C00) == 0x7C00 ? 0x7F800000 : 0;
    return float_of(bits | sign);
}

LOOP static void widen(const uint16_t *raw, int64_t count, int kind, float *out) {
    if (kind == BF16)
        for (int64_t k = 0; k < count; k++) out[k] = float_of((uint32_t)raw[k] << 16);
    else
        for (int64_t k = 0; k < count; k++) out[k] = half(raw[k]);
}

/* `count` numbers from byte `at` of a file, stored as `kind`, as fp32. */
static int read_floats(int fd, int64_t at, int kind, int64_t count, float *out) {
    if (kind == F32) return read_all(fd, (char *)out, 4 * count, at);
    uint16_t *raw = (uint16_t *)(out + count) - count; /* the upper half of where they go */
    if (read_all(fd, (char *)raw, 2 * count, at)) return REFUSED;
    int64_t done = 0;
    while (done < count) { /* what is written never reaches what is still to be read */
        int64_t free = (count - done + 1) / 2;
        widen(raw + done, free, kind, out + done);
        done += free;
    }
    return 0;
}

/* ---- sums ---------------------------------------------------------------------------------------------- */

typedef struct {
    const float *values;
    const uint8_t *kept; /* KEPT: 1 for what counts */
    float low, high;     /* BAND: magnitudes that count */
} Row;

typedef struct {
    int masked, elects;
    int scales;  /* without an election: times `factor`, through `divisor` */
    int divides; /* with one: through the number of those that agree */
    double factor, divisor;
} Way;

ALWAYS f32x8 load(const Row *row, int64_t at, int width, int masked) {
    f32x8 x = {0};
    if (width == 8) memcpy(&x, row->values + at, 32);
    else memcpy(&x, row->values + at, 4 * (size_t)width);
    if (masked == BAND) {
        f32x8 size = (f32x8)((i32x8)x & 0x7FFFFFFF);
        x = (f32x8)((i32x8)x & (size >= row->low) & (size <= row->high));
    } else if (masked == KEPT) {
        typedef int8_t i8x8 __attribute__((vector_size(8)));
        i8x8 kept = {0};
        if (width == 8) memcpy(&kept, row->kept + at, 8);
        else memcpy(&kept, row->kept + at, (size_t)width);
        x = (f32x8)((i32x8)x & -__builtin_convertvector(kept, i32x8));
    }
    return x;
}

/* Where a sum in plain fp64 might round: the same by two limbs, see `exact/sums.py`. */
static int in_limbs(const Row *rows, int64_t n, int64_t at, int masked, double *signed_, double *unsigned_) {
    const double HIGH = 1.5 * 0x1p30, LOW = 1.5 * 0x1p-10;
    double high = 0, low = 0, high_size = 0, low_size = 0;
    for (int64_t i = 0; i < n; i++) {
        f32x8 one = load(rows + i, at, 1, masked);
        double x = one[0], upper, lower;
        if (!(fabs(x) <= 65536)) return REFUSED;
        upper = (x + HIGH) - HIGH;
        lower = ((x - upper) + LOW) - LOW;
        high += upper, low += lower;
        upper = (fabs(x) + HIGH) - HIGH;
        lower = ((fabs(x) - upper) + LOW) - LOW;
        high_size += upper, low_size += lower;
    }
    *signed_ = high + low, *unsigned_ = high_size + low_size;
    return 0;
}

ALWAYS f64x4 lower(f32x8 x) {
    return __builtin_convertvector(__builtin_shufflevector(x, x, 0, 1, 2, 3), f64x4);
}

ALWAYS f64x4 upper(f32x8 x) {
    return __builtin_convertvector(__builtin_shufflevector(x, x, 4, 5, 6, 7), f64x4);
}

ALWAYS f64x4 lower_of(i32x8 x) {
    return __builtin_convertvector(__builtin_shufflevector(x, x, 0, 1, 2, 3), f64x4);
}

ALWAYS f64x4 upper_of(i32x8 x) {
    return __builtin_convertvector(__builtin_shufflevector(x, x, 4, 5, 6, 7), f64x4);
}

ALWAYS i32x8 chosen(i32x8 mask, i32x8 where, i32x8 otherwise) { return (where & mask) | (otherwise & ~mask); }

ALWAYS int any(i32x8 mask) {
    int64_t parts[4];
    memcpy(parts, &mask, 32);
    return (parts[0] | parts[1] | parts[2] | parts[3]) != 0;
}

/* The combined value of `width` <= 8 elements. */
ALWAYS int combine(const Row *rows, int64_t n, int64_t at, int width, const Way *way, int masked, int elects,
                   int bits, double *out) {
    f64x4 sum[2] = {{0}, {0}}, size[2] = {{0}, {0}};
    i32x8 pro = {0}, con = {0}, most = {0}, least = {0};
    least |= ZERO;
    for (int64_t i = 0; i < n; i++) {
        f32x8 x = load(rows + i, at, width, masked);
        i32x8 pattern = (i32x8)x & 0x7FFFFFFF;
        most = chosen(pattern > most, pattern, most);
        i32x8 some = (i32x8)((u32x8)pattern + ZERO); /* puts a 0, which is on every grid, after all others */
        least = chosen(some < least, some, least);
        sum[0] += lower(x);
        sum[1] += upper(x);
        if (elects) {
            size[0] += lower((f32x8)pattern);
            size[1] += upper((f32x8)pattern);
            pro -= x > 0;
            con -= x < 0;
        }
    }
    /* As in `sums_plainly`, by element: exponents are biased by 127, the lowest bit is 23 places below. */
    i32x8 top = most >> 23, low = (i32x8)((u32x8)least - ZERO) >> 23;
    i32x8 doubt = (most != 0) & ((top >= 127 + 16) | (low < 127 - 39) | (top + bits > low + 30));
    if (any(doubt))
        for (int k = 0; k < width; k++) {
            double one = 0, magnitude = 0;
            if (!doubt[k]) continue;
            if (in_limbs(rows, n, at + k, masked, &one, &magnitude)) return REFUSED;
            sum[k / 4][k % 4] = one, size[k / 4][k % 4] = magnitude;
        }
    for (int h = 0; h < 2; h++) {
        f64x4 value = sum[h];
        if (elects) {
            i64x4 sign = (i64x4)value & INT64_MIN;
            value = (f64x4)((i64x4)((f64x4)((i64x4)value & INT64_MAX) + size[h]) | sign) * way->factor;
        } else if (way->scales) {
            value = value * way->factor / way->divisor;
        }
        if (elects && way->divides) {
            f64x4 for_it = h ? upper_of(pro) : lower_of(pro), against = h ? upper_of(con) : lower_of(con);
            i64x4 positive = sum[h] >= 0;
            i64x4 agree = ((i64x4)for_it & positive) | ((i64x4)against & ~positive);
            value /= (f64x4)(agree | ((agree == 0) & (int64_t)0x3FF0000000000000)); /* at least 1.0 */
        }
        if (width == 8) memcpy(out + 4 * h, &value, 32);
        else for (int k = 4 * h; k < width && k < 4 * h + 4; k++) out[k] = value[k % 4];
    }
    return 0;
}

ALWAYS int combine_all(const Row *rows, int64_t n, int64_t count, const Way *way, int masked, int elects,
                       double *out) {
    int bits = 1, rest = (int)(count % 8);
    for (int64_t m = n > 2 ? n - 1 : 1; m; m >>= 1) bits++;
    for (int64_t at = 0; at + 8 <= count; at += 8)
        if (combine(rows, n, at, 8, way, masked, elects, bits, out + at)) return REFUSED;
    if (rest) return combine(rows, n, count - rest, rest, way, masked, elects, bits, out + count - rest);
    return 0;
}

LOOP static int sum_plain(const Row *rows, int64_t n, int64_t count, const Way *way, double *out) {
    return combine_all(rows, n, count, way, PLAIN, 0, out);
}

LOOP static int combine_rows(const Row *rows, int64_t n, int64_t count, const Way *way, double *out) {
    if (way->elects) {
        if (way->masked == PLAIN) return combine_all(rows, n, count, way, PLAIN, 1, out);
        if (way->masked == BAND) return combine_all(rows, n, count, way, BAND, 1, out);
        return combine_all(rows, n, count, way, KEPT, 1, out);
    }
    if (way->masked == PLAIN) return combine_all(rows, n, count, way, PLAIN, 0, out);
    if (way->masked == BAND) return combine_all(rows, n, count, way, BAND, 0, out);
    return combine_all(rows, n, count, way, KEPT, 0, out);
}

/* total[k] = exact sum of `count` numbers of n files each. rows: memory for n * block fp32. */
int cf_sum_files(const int32_t *fds, const int64_t *at, const int32_t *kinds, int64_t n, int64_t count,
                 float *memory, int64_t block, double *total) {
    static const Way SUM = {PLAIN, 0, 0, 0, 1, 1};
    Row rows[n];
    for (int64_t done = 0; done < count; done += block) {
        int64_t now = count - done < block ? count - done : block;
        for (int64_t i = 0; i < n; i++) {
            float *values = memory + i * block;
            if (read_floats(fds[i], at[i] + done * (kinds[i] == F32 ? 4 : 2), kinds[i], now, values)) return REFUSED;
            rows[i] = (Row){values, 0, 0, 0};
        }
        if (sum_plain(rows, n, now, &SUM, total + done)) return REFUSED;
    }
    return 0;
}

/* What of n rows of deltas (n, count) counts, summed or elected. kept: (n, count); low, high: (n,). */
int cf_combine(const float *deltas, int64_t n, int64_t count, int masked, const float *low, const float *high,
               const uint8_t *kept, int elects, int divides, double factor, double divisor, double *out) {
    Way way = {masked, elects, 1, divides, factor, divisor};
    Row rows[n];
    for (int64_t i = 0; i < n; i++) {
        rows[i] = (Row){deltas + i * count, masked == KEPT ? kept + i * count : 0, 0, 0};
        if (masked == BAND) rows[i].low = low[i], rows[i].high = high[i];
    }
    return combine_rows(rows, n, count, &way, out);
}

/* ---- what is stored ------------------------------------------------------------------------------------ */

ALWAYS uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

/* As fp32, rounded to odd (Boldo and Melquiond 2008): rounding that once more rounds the fp64. */
ALWAYS uint32_t odd(double value) {
    float nearest = (float)value;
    double error = value - (double)nearest;
    uint32_t bits = bits_of(nearest);
    uint32_t away = (error > 0) == (value > 0) ? 1u : UINT32_MAX;
    return error != 0 && !(bits & 1) ? bits + away : bits;
}

/* fp32 patterns to nearest even, of numbers that these dtypes hold. */
ALWAYS uint16_t bf16(uint32_t bits) { return (uint16_t)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16); }

ALWAYS uint16_t fp16(uint32_t bits) {
    uint32_t sign = (bits >> 16) & 0x8000, size = bits & 0x7FFFFFFF;
    uint32_t normal = (size - (112u << 23) + 0xFFF + ((size >> 13) & 1)) >> 13;
    uint32_t small = bits_of(float_of(size) + 0.5f) - 0x3F000000; /* its last place is the smallest half */
    return (uint16_t)(sign | (size < (113u << 23) ? small : normal));
}

ALWAYS int64_t finish(const double *sums, int64_t count, double multiply, double divide, double rate,
                      const float *base, double share, int kind, void *out) {
    int64_t most = 0;
    for (int64_t k = 0; k < count; k++) {
        double value = sums[k] * multiply / divide * rate;
        if (base) value += share * (double)base[k];
        if (kind == F32) ((float *)out)[k] = (float)value;
        if (kind == BF16) ((uint16_t *)out)[k] = bf16(odd(value));
        if (kind == F16) ((uint16_t *)out)[k] = fp16(odd(value));
        int64_t bits;
        memcpy(&bits, &value, 8);
        bits &= INT64_MAX;
        most = bits > most ? bits : most;
    }
    return most;
}

/* (multiply * sum / divide) * rate + share * base, stored as `kind`; the largest magnitude, before it was
   rounded, comes into *largest. */
LOOP int cf_finish(const double *sums, int64_t count, double multiply, double divide, double rate,
                   const float *base, double share, int kind, void *out, double *largest) {
    int64_t most = kind == F32    ? finish(sums, count, multiply, divide, rate, base, share, F32, out)
                   : kind == BF16 ? finish(sums, count, multiply, divide, rate, base, share, BF16, out)
                                  : finish(sums, count, multiply, divide, rate, base, share, F16, out);
    memcpy(largest, &most, 8);
    return *largest < INFINITY ? 0 : REFUSED;
}

/* ---- deltas -------------------------------------------------------------------------------------------- */

LOOP static void subtract(float *values, const float *base, int64_t count) {
    for (int64_t k = 0; k < count; k++) values[k] -= base[k];
}

/* Values of n files less the base (count,), into deltas (n, count). */
int cf_deltas(const int32_t *fds, const int64_t *at, const int32_t *kinds, int64_t n, int64_t count,
              const float *base, float *deltas) {
    enum { BLOCK = 16384 };
    for (int64_t i = 0; i < n; i++)
        for (int64_t done = 0; done < count; done += BLOCK) {
            int64_t now = count - done < BLOCK ? count - done : BLOCK;
            float *out = deltas + i * count + done;
            if (read_floats(fds[i], at[i] + done * (kinds[i] == F32 ? 4 : 2), kinds[i], now, out)) return REFUSED;
            subtract(out, base + done, now);
        }
    return 0;
}

/* ---- inner products ------------------------------------------------------------------------------------ */

LOOP static int32_t largest_pattern(const float *values, int64_t count) {
    int32_t most = 0;
    for (int64_t k = 0; k < count; k++) {
        int32_t bits;
        memcpy(&bits, values + k, 4);
        bits &= 0x7FFFFFFF;
        most = bits > most ? bits : most;
    }
    return most;
}

LOOP static void snap(const float *values, int64_t count, float shift, double *out) {
    for (int64_t k = 0; k < count; k++) out[k] = (double)((values[k] + shift) - shift);
}

ALWAYS f64x4 at4(const double *values) {
    f64x4 four;
    memcpy(&four, values, 32);
    return four;
}

/* Inner products of 2 rows with 4: exact, so in any order. count: a multiple of 4. */
LOOP static void products(const double *const *two, const double *const *four, int64_t count, double out[2][4]) {
    f64x4 a0 = {0}, a1 = {0}, a2 = {0}, a3 = {0}, b0 = {0}, b1 = {0}, b2 = {0}, b3 = {0}; /* in registers */
    for (int64_t k = 0; k < count; k += 4) {
        f64x4 a = at4(two[0] + k), b = at4(two[1] + k), x;
        x = at4(four[0] + k), a0 += a * x, b0 += b * x;
        x = at4(four[1] + k), a1 += a * x, b1 += b * x;
        x = at4(four[2] + k), a2 += a * x, b2 += b * x;
        x = at4(four[3] + k), a3 += a * x, b3 += b * x;
    }
    const f64x4 sums[2][4] = {{a0, a1, a2, a3}, {b0, b1, b2, b3}};
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 4; j++)
            out[i][j] = (sums[i][j][0] + sums[i][j][1]) + (sums[i][j][2] + sums[i][j][3]);
}

static int grid_bits(int64_t columns) {
    int length = 0;
    for (int64_t m = columns > 2 ? columns - 1 : 1; m; m >>= 1) length++;
    int bits = (53 - length) / 2;
    return bits < 22 ? bits : 22;
}

/* gram (n, n) += the inner products of deltas (n, count), piece by piece; peaks (n,): the largest magnitudes,
   which are at most `limit`. memory: n * piece fp64. */
int cf_inner_products(const float *deltas, int64_t n, int64_t count, int64_t piece, int finest, float limit,
                      double *memory, double *gram, double *peaks) {
    for (int64_t start = 0; start < count; start += piece) {
        int64_t now = count - start < piece ? count - start : piece, padded = (now + 3) / 4 * 4;
        int bits = grid_bits(now);
        for (int64_t i = 0; i < n; i++) {
            const float *row = deltas + i * count + start;
            float most = float_of((uint32_t)largest_pattern(row, now));
            int exponent;
            if (!(most <= limit)) return REFUSED;
            if (most > peaks[i]) peaks[i] = most;
            frexpf(most, &exponent);
            exponent = exponent - bits > finest ? exponent - bits : finest;
            snap(row, now, (float)ldexp(1.5 * 0x1p23, exponent), memory + i * piece);
            memset(memory + i * piece + now, 0, 8 * (size_t)(padded - now));
        }
        for (int64_t i = 0; i < n; i += 2)
            for (int64_t j = i; j < n; j += 4) {
                const double *two[2], *four[4];
                double found[2][4];
                for (int k = 0; k < 2; k++) two[k] = memory + (i + k < n ? i + k : i) * piece;
                for (int k = 0; k < 4; k++) four[k] = memory + (j + k < n ? j + k : j) * piece;
                products(two, four, padded, found);
                for (int64_t row = i; row < i + 2 && row < n; row++)
                    for (int64_t column = j > row ? j : row; column < j + 4 && column < n; column++) {
                        double product = found[row - i][column - j];
                        gram[row * n + column] += product;
                        if (column != row) gram[column * n + row] += product;
                    }
            }
    }
    return 0;
}

/* The same of n files less the base (count,). deltas: memory for n * block fp32, block a multiple of piece. */
int cf_measure_files(const int32_t *fds, const int64_t *at, const int32_t *kinds, int64_t n, int64_t count,
                     const float *base, float *deltas, int64_t block, int64_t piece, int finest, float limit,
                     double *memory, double *gram, double *peaks) {
    int64_t positions[n];
    for (int64_t done = 0; done < count; done += block) {
        int64_t now = count - done < block ? count - done : block;
        for (int64_t i = 0; i < n; i++) positions[i] = at[i] + done * (kinds[i] == F32 ? 4 : 2);
        if (cf_deltas(fds, positions, kinds, n, now, base + done, deltas)) return REFUSED;
        if (cf_inner_products(deltas, n, now, piece, finest, limit, memory, gram, peaks)) return REFUSED;
    }
    return 0;
}

/* ---- ranks --------------------------------------------------------------------------------------------- */

/* Of `count` magnitudes, as patterns: how many are above high, and those from low to high, which come into
   `inside` (count,). Returns how many those are. */
LOOP int64_t cf_between(const int32_t *patterns, int64_t count, int32_t low, int32_t high, int32_t *inside,
                        int64_t *above) {
    int64_t found = 0, larger = 0, at = 0;
    i32x8 counts = {0}; /* of less than 2^31: a span is shorter */
    for (; at + 8 <= count; at += 8) {
        i32x8 x;
        memcpy(&x, patterns + at, 32);
        i32x8 over = x > high;
        counts -= over;
        if (any((x >= low) & ~over))
            for (int k = 0; k < 8; k++) {
                inside[found] = x[k];
                found += x[k] >= low && x[k] <= high;
            }
    }
    for (int k = 0; k < 8; k++) larger += counts[k];
    for (; at < count; at++) {
        larger += patterns[at] > high;
        if (patterns[at] >= low && patterns[at] <= high) inside[found++] = patterns[at];
    }
    *above = larger;
    return found;
}
