// data list   and   data prepare NAME

#include "apps/commands/command_line.hpp"
#include "apps/data/corpus.hpp"

namespace simsmoe::app {

int data_command(Arguments arguments) {
  CLI::App line{"The texts that are known by name. Any other text is used with --data.path=FILE.", "data"};
  std::string folder = Config().data.folder, name;
  line.add_option("--folder", folder, "where prepared texts are kept")
      ->check(not_empty())
      ->capture_default_str();
  CLI::App* list = line.add_subcommand("list", "what is known, and what is there");
  CLI::App* prepare = line.add_subcommand("prepare", "make a text in the folder");
  prepare->add_option("NAME", name, "gcide, enwik8 or text8")->required();
  line.require_subcommand(1);
  list->fallthrough();
  prepare->fallthrough();
  if (!parse(line, std::move(arguments))) return 0;

  if (prepare->parsed()) {
    print_result(prepare_corpus(name, folder) + "\n");
    return 0;
  }
  for (const KnownCorpus& corpus : known_corpora(folder))
    print_result(fmt::format("{:<8} {} ({})\n         {}\n", corpus.name, corpus.description, corpus.licence,
                             corpus.present ? "is at " + corpus.path
                             : corpus.preparable
                                 ? "can be prepared here from " + corpus.source
                                 : "comes from " + corpus.source + ", to be put at " + corpus.path));
  return 0;
}

}  // namespace simsmoe::app
