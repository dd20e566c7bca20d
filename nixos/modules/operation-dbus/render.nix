# The options of a section become fields of the host spec, each with the priority it was given: a
# default yields to `settings`, and a value set in both places must be one.
{ lib, options }:

section: names:
lib.genAttrs names (
  name:
  let
    option = options.services.operation-dbus.${section}.${name};
  in
  lib.mkOverride option.highestPrio option.value
)
