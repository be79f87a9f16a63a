// COCO's box evaluation (AP and AR), figure by figure what pycocotools 2.0 computes.
//
// The order of every floating-point operation follows pycocotools, so results are equal, not close;
// compile without contraction into fused multiply-adds (-ffp-contract=off).
//
// Work is split by category: no two categories share anything but read-only input.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <exception>
#include <limits>
#include <numeric>
#include <thread>
#include <vector>

namespace {

// How an image's detections fare at all IoU thresholds in one area range: one bit per threshold.
struct Fate {
    uint32_t found = 0;    // matched to an object that counts
    uint32_t ignored = 0;  // neither right nor wrong
};

struct Problem {
    // Detections and objects, grouped by category: items[starts[k]] … items[starts[k + 1] - 1].
    const int64_t *det_image;
    const double *det_box;
    const double *det_score;
    std::vector<int64_t> det_order, det_start;
    const int64_t *gt_image;
    const double *gt_box;
    const double *gt_area;
    const uint8_t *gt_crowd;
    std::vector<int64_t> gt_order, gt_start;
    int64_t categories;
    int thresholds, recalls, areas, limits;
    const double *threshold;
    const double *recall;
    const double *area_range;   // (areas, 2), inclusive
    const int64_t *max_dets;    // ascending
    double *precision_out;      // (areas, thresholds, recalls, categories), for the largest limit
    double *recall_out;         // (areas, limits, thresholds, categories)
};

// Indices grouped by category, input order kept.
void group(int64_t count, const int64_t *category, int64_t categories, std::vector<int64_t> &order,
           std::vector<int64_t> &start) {
    start.assign(categories + 1, 0);
    for (int64_t i = 0; i < count; ++i) ++start[category[i] + 1];
    std::partial_sum(start.begin(), start.end(), start.begin());
    std::vector<int64_t> next(start.begin(), start.end() - 1);
    order.resize(count);
    for (int64_t i = 0; i < count; ++i) order[next[category[i]]++] = i;
}

// Descending, NaN last: the order of a stable sort of -score in numpy.
inline bool scores_higher(double a, double b) {
    if (std::isnan(a)) return false;
    return std::isnan(b) || a > b;
}

double overlap(const double *d, const double *g, bool crowd) {
    const double width = std::fmin(d[2] + d[0], g[2] + g[0]) - std::fmax(d[0], g[0]);
    if (width <= 0) return 0;
    const double height = std::fmin(d[3] + d[1], g[3] + g[1]) - std::fmax(d[1], g[1]);
    if (height <= 0) return 0;
    const double intersection = width * height;
    const double detection = d[2] * d[3], object = g[2] * g[3];
    return intersection / (crowd ? detection : detection + object - intersection);
}

class Category {
  public:
    Category(const Problem &problem, int64_t index) : p(problem), k(index) {}

    void evaluate() {
        order_detections();
        objects.assign(p.gt_order.begin() + p.gt_start[k], p.gt_order.begin() + p.gt_start[k + 1]);
        std::stable_sort(objects.begin(), objects.end(),
                         [&](int64_t a, int64_t b) { return p.gt_image[a] < p.gt_image[b]; });
        fates.assign(detections.size() * p.areas, Fate());
        counted.assign(p.areas, 0);
        match_all_images();
        rank_by_score();
        for (int a = 0; a < p.areas; ++a) {
            if (counted[a] == 0) continue;  // undefined: the outputs keep their -1
            write_recall(a);
            write_precision(a);
        }
    }

  private:
    const Problem &p;
    const int64_t k;
    std::vector<int64_t> detections;  // by image, then score; at most max_dets per image
    std::vector<int64_t> place;       // (detections) rank within the image
    std::vector<int64_t> objects;     // by image
    std::vector<Fate> fates;          // (detections, areas)
    std::vector<int64_t> counted;     // (areas) objects that count
    std::vector<int64_t> ranking;     // positions in `detections`, best score first
    std::vector<double> ious;
    std::vector<uint8_t> ignore, taken;
    std::vector<int64_t> sequence;

    void order_detections() {
        std::vector<int64_t> all(p.det_order.begin() + p.det_start[k], p.det_order.begin() + p.det_start[k + 1]);
        std::sort(all.begin(), all.end(), [&](int64_t a, int64_t b) {
            if (p.det_image[a] != p.det_image[b]) return p.det_image[a] < p.det_image[b];
            if (scores_higher(p.det_score[a], p.det_score[b])) return true;
            if (scores_higher(p.det_score[b], p.det_score[a])) return false;
            return a < b;
        });
        const int64_t limit = p.max_dets[p.limits - 1];
        int64_t image = -1, rank = 0;
        for (int64_t d : all) {
            rank = p.det_image[d] == image ? rank + 1 : 0;
            image = p.det_image[d];
            if (rank >= limit) continue;
            detections.push_back(d);
            place.push_back(rank);
        }
    }

    void rank_by_score() {
        ranking.resize(detections.size());
        std::iota(ranking.begin(), ranking.end(), int64_t(0));
        std::sort(ranking.begin(), ranking.end(), [&](int64_t a, int64_t b) {
            const double x = p.det_score[detections[a]], y = p.det_score[detections[b]];
            if (scores_higher(x, y)) return true;
            if (scores_higher(y, x)) return false;
            return a < b;
        });
    }

    void match_all_images() {
        size_t d = 0, g = 0;
        while (d < detections.size() || g < objects.size()) {
            const int64_t next_d = d < detections.size() ? p.det_image[detections[d]] : INT64_MAX;
            const int64_t next_g = g < objects.size() ? p.gt_image[objects[g]] : INT64_MAX;
            const int64_t image = std::min(next_d, next_g);
            size_t d_end = d, g_end = g;
            while (d_end < detections.size() && p.det_image[detections[d_end]] == image) ++d_end;
            while (g_end < objects.size() && p.gt_image[objects[g_end]] == image) ++g_end;
            match_image(d, d_end, g, g_end);
            d = d_end;
            g = g_end;
        }
    }

    void match_image(size_t d0, size_t d1, size_t g0, size_t g1) {
        const size_t count = g1 - g0;
        ious.resize((d1 - d0) * count);
        for (size_t d = d0; d < d1; ++d)
            for (size_t g = g0; g < g1; ++g)
                ious[(d - d0) * count + (g - g0)] = overlap(p.det_box + 4 * detections[d],
                                                            p.gt_box + 4 * objects[g], p.gt_crowd[objects[g]]);
        for (int a = 0; a < p.areas; ++a) {
            const double low = p.area_range[2 * a], high = p.area_range[2 * a + 1];
            // Objects that count first, then the ignored ones, file order kept in both.
            sequence.clear();
            ignore.assign(count, 0);
            for (size_t g = 0; g < count; ++g) {
                const double area = p.gt_area[objects[g0 + g]];
                ignore[g] = p.gt_crowd[objects[g0 + g]] || area < low || area > high;
                if (!ignore[g]) sequence.push_back(int64_t(g));
            }
            counted[a] += int64_t(sequence.size());
            for (size_t g = 0; g < count; ++g)
                if (ignore[g]) sequence.push_back(int64_t(g));
            for (int t = 0; t < p.thresholds; ++t) match_at(d0, d1, g0, count, a, t);
            for (size_t d = d0; d < d1; ++d) ignore_outside(d, a, low, high);
        }
    }

    // Greedy matching of one image in one area range at one threshold, best score first.
    void match_at(size_t d0, size_t d1, size_t g0, size_t count, int a, int t) {
        if (count == 0) return;
        const uint32_t bit = uint32_t(1) << t;
        taken.assign(count, 0);
        for (size_t d = d0; d < d1; ++d) {
            double best = std::min(p.threshold[t], 1 - 1e-10);
            int64_t match = -1;
            for (int64_t g : sequence) {
                if (taken[g] && !p.gt_crowd[objects[g0 + g]]) continue;
                if (match >= 0 && !ignore[match] && ignore[g]) break;
                const double iou = ious[(d - d0) * count + g];
                if (iou < best) continue;
                best = iou;
                match = g;
            }
            if (match < 0) continue;
            taken[match] = 1;
            Fate &fate = fates[d * p.areas + a];
            if (ignore[match]) fate.ignored |= bit;
            fate.found |= bit;
        }
    }

    // A detection outside the area range that found nothing is no mistake of this range.
    void ignore_outside(size_t d, int a, double low, double high) {
        const double *box = p.det_box + 4 * detections[d];
        const double area = box[2] * box[3];
        Fate &fate = fates[d * p.areas + a];
        if (area < low || area > high) fate.ignored |= ~fate.found;
    }

    void write_recall(int a) {
        for (int m = 0; m < p.limits; ++m) {
            std::vector<int64_t> right(p.thresholds, 0);
            for (size_t d = 0; d < detections.size(); ++d) {
                if (place[d] >= p.max_dets[m]) continue;
                const Fate &fate = fates[d * p.areas + a];
                const uint32_t bits = fate.found & ~fate.ignored;
                if (bits)
                    for (int t = 0; t < p.thresholds; ++t) right[t] += bits >> t & 1;
            }
            for (int t = 0; t < p.thresholds; ++t)
                p.recall_out[((int64_t(a) * p.limits + m) * p.thresholds + t) * p.categories + k] =
                    double(right[t]) / double(counted[a]);
        }
    }

    // Precision only matters where a true positive is added: in between it can but fall, and recall stays.
    void write_precision(int a) {
        const double epsilon = std::numeric_limits<double>::epsilon();
        std::vector<std::vector<double>> at_hit(p.thresholds);
        std::vector<int64_t> wrong(p.thresholds, 0);
        for (int64_t d : ranking) {
            const Fate &fate = fates[d * p.areas + a];
            for (int t = 0; t < p.thresholds; ++t) {
                if (fate.ignored >> t & 1) continue;
                if (fate.found >> t & 1) {
                    const double hits = double(at_hit[t].size() + 1);
                    at_hit[t].push_back(hits / (double(wrong[t]) + hits + epsilon));
                } else {
                    ++wrong[t];
                }
            }
        }
        for (int t = 0; t < p.thresholds; ++t) {
            std::vector<double> &best = at_hit[t];
            for (size_t i = best.size(); i-- > 1;) best[i - 1] = std::max(best[i - 1], best[i]);
            size_t hit = 0;
            for (int r = 0; r < p.recalls; ++r) {
                while (hit < best.size() && double(hit + 1) / double(counted[a]) < p.recall[r]) ++hit;
                p.precision_out[((int64_t(a) * p.thresholds + t) * p.recalls + r) * p.categories + k] =
                    hit < best.size() ? best[hit] : 0.0;
            }
        }
    }
};

}  // namespace

// Evaluates boxes; categories and images are indices, images in the order of their ids.
// The outputs are filled with -1 by the caller. Returns 0, or 1 when memory or threads ran out.
extern "C" int coco_evaluate(int64_t det_count, const int64_t *det_image, const int64_t *det_category,
                             const double *det_box, const double *det_score, int64_t gt_count,
                             const int64_t *gt_image, const int64_t *gt_category, const double *gt_box,
                             const double *gt_area, const uint8_t *gt_crowd,
                             int64_t categories, int thresholds, const double *threshold, int recalls,
                             const double *recall, int areas, const double *area_range, int limits,
                             const int64_t *max_dets, int threads, double *precision_out,
                             double *recall_out) try {
    Problem problem{det_image,  det_box,   det_score,  {},        {},          gt_image, gt_box,
                    gt_area,    gt_crowd,  {},         {},        categories,  thresholds,
                    recalls,    areas,     limits,     threshold, recall,      area_range, max_dets,
                    precision_out, recall_out};
    group(det_count, det_category, categories, problem.det_order, problem.det_start);
    group(gt_count, gt_category, categories, problem.gt_order, problem.gt_start);

    std::atomic<int64_t> next(0);
    std::atomic<bool> failed(false);
    auto work = [&] {
        try {
            for (int64_t k = next++; k < categories && !failed; k = next++) Category(problem, k).evaluate();
        } catch (const std::exception &) {
            failed = true;
        }
    };
    std::vector<std::thread> pool;
    try {
        for (int i = 1; i < threads; ++i) pool.emplace_back(work);
    } catch (const std::exception &) {
        // Fewer threads than asked for: this one does the rest.
    }
    work();
    for (std::thread &thread : pool) thread.join();
    return failed ? 1 : 0;
} catch (const std::exception &) {
    return 1;
}
