import ArgumentParser
import EaselKit
@main struct Easel: ParsableCommand {}
