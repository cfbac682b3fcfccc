// gradcheck [--filter TEXT] [--json]: the suite of tests/support on the user's machine.

#include <algorithm>
#include <map>

#include <nlohmann/json.hpp>

#include "apps/commands/command_line.hpp"
#include "apps/model_factory.hpp"
#include "engine/log.hpp"
#include "ops/binary.hpp"
#include "tests/support/gradcheck.hpp"
#include "tests/support/op_suite.hpp"

namespace simsmoe::app {

namespace {

using testing::CheckResult;

// A tiny decoder with every kind of sublayer, in f64, through every parameter: are the gradients right when
// the ops work together?
CheckResult check_decoder() {
  Config config;
  config.model.dim = 8;
  config.model.attention.heads = 2;
  config.model.layers = 2;
  config.model.dense.hidden = 12;
  config.model.pattern = "sgf";
  config.moe.experts = 4;
  config.moe.hidden = 6;
  config.moe.z_weight = 0.01;
  config.train.seq = 6;
  constexpr std::int64_t kWords = 11;
  nn::ParameterStore store(1, DType::f64);
  nn::Decoder decoder(nn::Scope(store), decoder_options(config, kWords),
                      moe::feed_forward_factory(config.moe));
  std::vector<std::int32_t> tokens, targets;
  for (std::int32_t i = 0; i < 12; ++i) {
    tokens.push_back(i * 5 % 11);
    targets.push_back((i * 5 + 3) % 11);
  }
  std::vector<Variable> parameters;
  for (const nn::Parameter& parameter : store.parameters()) parameters.push_back(parameter.variable);
  const auto loss = [&] {
    nn::ForwardContext ctx;
    ctx.training = true;
    const Variable task = decoder.loss(Tensor::from(tokens, {2, 6}), Tensor::from(targets, {2, 6}), ctx);
    return ops::add(task, ctx.losses.total());
  };
  const testing::GradcheckReport report = testing::gradcheck(loss, parameters);
  return {.op = "decoder",
          .case_name = "attention, experts, dense",
          .device = "cpu",
          .dtype = "f64",
          .check = "numeric",
          .passed = report.passed,
          .worst_error = report.worst_error,
          .message = report.passed ? "" : report.to_string()};
}

struct Row {
  std::map<std::string, int> cases;
  int checks = 0, failed = 0;
  double worst = 0.0;  // of the numeric checks
};

std::string table(const std::vector<CheckResult>& results) {
  std::map<std::string, Row> rows;
  for (const CheckResult& result : results) {
    Row& row = rows[result.op];
    ++row.cases[result.case_name];
    ++row.checks;
    row.failed += result.passed ? 0 : 1;
    if (result.check == "numeric") row.worst = std::max(row.worst, result.worst_error);
  }
  std::string text = fmt::format("{:<24} {:>6} {:>7} {:>7}  {}\n", "op", "cases", "checks", "failed",
                                 "worst error of a gradient / its largest entry");
  for (const auto& [op, row] : rows)
    text += fmt::format("{:<24} {:>6} {:>7} {:>7}  {:.1e}\n", op, row.cases.size(), row.checks, row.failed,
                        row.worst);
  return text;
}

}  // namespace

int gradcheck_command(Arguments arguments) {
  allow_overrides(take_overrides(arguments), {}, "gradcheck");
  CLI::App line{"Checks every op on this machine: gradients against differences, dtypes, devices.",
                "gradcheck"};
  std::string filter;
  bool json = false;
  line.add_option("--filter", filter,
                  "only checks whose name (ops/softmax/3x7/cpu/f64/numeric) contains this");
  line.add_flag("--json", json, "print one JSON object");
  if (!parse(line, std::move(arguments))) return 0;

  const auto on_result = [](const CheckResult& result) {
    if (!result.passed) log_warn("{}: {}", result.name(), result.message);
  };
  std::vector<CheckResult> results = testing::run_suite(filter, on_result);
  if (std::string("ops/decoder").find(filter) != std::string::npos) {
    results.push_back(check_decoder());
    on_result(results.back());
  }
  if (results.empty()) throw UserError(fmt::format("no check has '{}' in its name", filter));

  const testing::SuiteSummary sum = testing::summarize(results);
  if (json)
    print_result(nlohmann::ordered_json{{"ops", sum.ops},
                                        {"cases", sum.cases},
                                        {"checks", sum.checks},
                                        {"failed", sum.failed},
                                        {"worst_error", sum.worst_error}}
                     .dump() +
                 "\n");
  else
    print_result(table(results) + fmt::format("{} ops, {} cases, {} checks, {} failed, worst error {:.1e}\n",
                                              sum.ops, sum.cases, sum.checks, sum.failed, sum.worst_error));
  return sum.failed == 0 ? 0 : 1;
}

}  // namespace simsmoe::app
