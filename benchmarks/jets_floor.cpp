// What the jet chain costs in C++ with FastJet used as its manual shows: the floor that
// benchmarks/jets.py compares with. Reads events, prints milliseconds an event by step.
//
//   jets_floor EVENTS REPEAT        (EVENTS as read_events expects it)
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <string>
#include <vector>

#include "fastjet/ClusterSequence.hh"
#include "fastjet/ClusterSequenceArea.hh"
#include "fastjet/tools/JetMedianBackgroundEstimator.hh"

using namespace fastjet;
using Event = std::vector<PseudoJet>;

static const double kPionMass = 0.13957039, kRadius = 0.4, kEtaMax = 2.5, kPtMin = 5.0;

// int64 number of events, int64 particles of each, then float64 pT, eta, phi of every particle.
static std::vector<Event> read_events(const char* path) {
  std::ifstream in(path, std::ios::binary);
  std::int64_t n_events = 0;
  in.read(reinterpret_cast<char*>(&n_events), 8);
  std::vector<std::int64_t> counts(n_events);
  in.read(reinterpret_cast<char*>(counts.data()), 8 * n_events);
  std::vector<Event> events(n_events);
  for (std::int64_t k = 0; k < n_events; k++) {
    for (std::int64_t i = 0; i < counts[k]; i++) {
      double v[3];
      in.read(reinterpret_cast<char*>(v), 24);
      double px = v[0] * std::cos(v[2]), py = v[0] * std::sin(v[2]), pz = v[0] * std::sinh(v[1]);
      events[k].emplace_back(px, py, pz,
                             std::sqrt(px * px + py * py + pz * pz + kPionMass * kPionMass));
    }
  }
  if (!in) {
    std::fprintf(stderr, "jets_floor: %s: too short\n", path);
    std::exit(2);
  }
  return events;
}

template <class Work>
static double milliseconds(const std::vector<Event>& events, int repeat, Work work) {
  double best = 1e300;  // of processor time, which other programs disturb less
  for (int r = 0; r < repeat; r++) {
    const std::clock_t start = std::clock();
    for (const Event& event : events) work(event);  // or the jets of an event
    best = std::min(best, 1e3 * (std::clock() - start) / CLOCKS_PER_SEC / events.size());
  }
  return best;
}

static double sink = 0;  // keeps the optimiser from leaving work out

static void winner_take_all(const std::vector<PseudoJet>& jets) {
  static const JetDefinition definition(cambridge_algorithm, JetDefinition::max_allowable_R,
                                        WTA_pt_scheme);
  for (const PseudoJet& jet : jets) {
    ClusterSequence sequence(jet.constituents(), definition);
    sink += sequence.inclusive_jets()[0].rap();
  }
}

static void soft_drop(const std::vector<PseudoJet>& jets) {
  static const JetDefinition definition(cambridge_algorithm, JetDefinition::max_allowable_R);
  for (const PseudoJet& jet : jets) {
    ClusterSequence sequence(jet.constituents(), definition);
    PseudoJet whole = sequence.inclusive_jets()[0], first, second;
    while (whole.has_parents(first, second)) {
      if (first.pt2() < second.pt2()) std::swap(first, second);
      if (second.pt() > 0.1 * (first.pt() + second.pt())) break;
      whole = first;
    }
    sink += whole.pt();
  }
}

static void angularity(const std::vector<PseudoJet>& jets) {
  for (const PseudoJet& jet : jets)
    for (const PseudoJet& particle : jet.constituents())
      sink += particle.pt() / jet.pt() * particle.squared_distance(jet) / (kRadius * kRadius);
}

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: jets_floor EVENTS REPEAT\n");
    return 2;
  }
  ClusterSequence::set_fastjet_banner_stream(nullptr);
  const std::vector<Event> events = read_events(argv[1]);
  const int repeat = std::atoi(argv[2]);

  const JetDefinition anti_kt(antikt_algorithm, kRadius), kt(kt_algorithm, kRadius);
  const AreaDefinition area(active_area, GhostedAreaSpec(kEtaMax, 1, 0.01));
  // A selector with "not the hardest" needs ghosts that are part of the event.
  const AreaDefinition ghosts(active_area_explicit_ghosts, GhostedAreaSpec(kEtaMax, 1, 0.01));
  const Selector range = SelectorAbsEtaMax(kEtaMax - kRadius) * (!SelectorNHardest(2));

  auto background = [&](const Event& event) {
    JetMedianBackgroundEstimator estimator(range, kt, ghosts);
    estimator.set_particles(event);
    sink += estimator.rho();
  };
  const double cluster = milliseconds(events, repeat, [&](const Event& event) {
    ClusterSequence sequence(event, anti_kt);
    sink += sequence.inclusive_jets(kPtMin).size();
  });
  const double with_area = milliseconds(events, repeat, [&](const Event& event) {
    ClusterSequenceArea sequence(event, anti_kt, area);
    for (const PseudoJet& jet : sequence.inclusive_jets(kPtMin)) sink += jet.area();
  });
  const double rho = milliseconds(events, repeat, background);
  std::vector<ClusterSequence> sequences;
  std::vector<Event> jets_of_events;
  sequences.reserve(events.size());
  for (const Event& event : events) {
    sequences.emplace_back(event, anti_kt);
    jets_of_events.push_back(sequences.back().inclusive_jets(kPtMin));
  }
  const double wta = milliseconds(jets_of_events, repeat, winner_take_all);
  const double dropped = milliseconds(jets_of_events, repeat, soft_drop);
  const double angular = milliseconds(jets_of_events, repeat, angularity);
  const double chain = milliseconds(events, repeat, [&](const Event& event) {
    ClusterSequenceArea sequence(event, anti_kt, area);
    const std::vector<PseudoJet> jets = sequence.inclusive_jets(kPtMin);
    for (const PseudoJet& jet : jets) sink += jet.area();
    winner_take_all(jets);
    soft_drop(jets);
    angularity(jets);
    background(event);
  });
  std::printf(
      "{\"cluster\": %.5f, \"cluster with areas\": %.5f, \"background\": %.5f, "
      "\"winner take all\": %.5f, \"soft drop\": %.5f, \"angularity\": %.5f, \"chain\": %.5f}\n",
      cluster, with_area, rho, wta, dropped, angular, chain);
  return std::isnan(sink) ? 1 : 0;
}
