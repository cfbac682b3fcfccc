#pragma once
// What a file of this folder describes its router with. Each defines a function NAME_router() that returns the kind of
// that name; table.cpp lists them.

#include "moe/router.hpp"

namespace simsmoe::moe {

inline auto always(RouterTraits traits) {
  return [traits](const MoeOptions&) { return traits; };
}

// A router without options of its own: R(scope, options, site).
template <class R>
RouterKind router_kind(std::string name, RouterTraits traits = {}) {
  const RouterMaker make = [](const nn::Scope& scope, const MoeOptions& options, const nn::Site& site) {
    return std::make_unique<R>(scope, options, site);
  };
  return {.name = std::move(name), .make = make, .options = {}, .traits = always(traits)};
}

// A router with a section of options O: R(scope, options, site, own).
template <class R, class O>
RouterKind router_kind(std::string name, RouterTraits traits = {}) {
  const RouterMaker make = [](const nn::Scope& scope, const MoeOptions& options, const nn::Site& site) {
    return std::make_unique<R>(scope, options, site, options.router_options().as<O>());
  };
  return {.name = std::move(name), .make = make, .options = nn::OptionSet(O{}), .traits = always(traits)};
}

}  // namespace simsmoe::moe
